// SPDX-License-Identifier: GPL-2.0
//! How long the lab VM was kept waiting for a processor by what else this machine does.
//!
//! A wait for what may never happen ends at a deadline. On a machine with too much to do,
//! everything takes longer and nothing hangs, so the time in which the VM could have run and was
//! not let does not count: the kernel accounts for it, thread by thread
//! (Documentation/scheduler/sched-stats.rst, `/proc/PID/task/TID/schedstat`).

use std::cell::Cell;
use std::fs;
use std::time::Duration;

/// The name of the process that counts.
const QEMU: &str = "qemu-system";

/// The account of a process, and of those that it has started.
pub struct Starvation {
    root: u32,
    /// QEMU's number, once it is there.
    qemu: Cell<Option<u32>>,
}

impl Starvation {
    /// The account of QEMU, which is `root` or is started by it.
    pub fn new(root: u32) -> Self {
        Starvation {
            root,
            qemu: Cell::new(None),
        }
    }

    /// How long that thread was kept waiting that was so for longest: one that runs a processor of
    /// the VM. Nothing where the kernel does not say.
    pub fn kept_waiting(&self) -> Duration {
        if self.qemu.get().is_none() {
            self.qemu.set(find(self.root));
        }
        let Some(qemu) = self.qemu.get() else {
            return Duration::ZERO;
        };
        let tasks = fs::read_dir(format!("/proc/{qemu}/task"));
        let tasks = tasks.into_iter().flatten().flatten();
        let delays = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            delay(&text)
        });
        delays.max().unwrap_or_default()
    }
}

/// The time that a thread was ready to run and did not.
fn delay(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(nanoseconds.parse().ok()?))
}

/// The process among `root` and its descendants that is QEMU.
fn find(root: u32) -> Option<u32> {
    let name = fs::read_to_string(format!("/proc/{root}/comm")).ok()?;
    if name.starts_with(QEMU) {
        return Some(root);
    }
    let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).ok()?;
    let mut children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    children.find_map(find)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_is_the_time_kept_waiting() {
        let delay = |text| delay(text).map(|delay| delay.as_nanos());
        assert_eq!(delay("751778 5227747 4\n"), Some(5_227_747));
        assert_eq!(delay(""), None);
    }

    #[test]
    fn what_is_no_qemu_and_starts_none_was_not_kept_waiting() {
        let of_this = Starvation::new(std::process::id()).kept_waiting();
        assert_eq!(of_this, Duration::ZERO);
    }
}
