// SPDX-License-Identifier: GPL-2.0
//! Measures the time in which the lab VM waited for a processor because of other load.
//!
//! Timeouts must not fail a VM that is slow only because the machine is busy. So the time in which
//! the VM was ready to run and did not run is not counted. The kernel accounts for it by thread
//! (Documentation/scheduler/sched-stats.rst, `/proc/PID/task/TID/schedstat`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// The name of QEMU's process.
const QEMU: &str = "qemu-system";

/// What each thread has waited so far, by its id.
type Delays = BTreeMap<OsString, Duration>;

/// The account of a process and its descendants.
pub struct Starvation {
    root: u32,
    /// QEMU's process id, once it is known.
    qemu: Cell<Option<u32>>,
    /// At the last look.
    delays: RefCell<Delays>,
    /// The sum of the longest wait of each time between two looks.
    total: Cell<Duration>,
}

impl Starvation {
    /// Creates the account of QEMU, which is `root` or one of its descendants.
    pub fn new(root: u32) -> Self {
        Starvation {
            root,
            qemu: Cell::new(None),
            delays: RefCell::default(),
            total: Cell::default(),
        }
    }

    /// Returns how long the VM has waited: between two looks, as long as the thread that waited
    /// longest, which is one that runs a processor of the VM. 0 if the kernel does not report it.
    ///
    /// The longest of all times so far would hide a processor that waits now behind another one
    /// that waited earlier and is idle now.
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
            Some((task.file_name(), delay(&text)?))
        });
        let now: Delays = delays.collect();
        let more = longest(&self.delays.borrow(), &now);
        self.delays.replace(now);
        self.total.set(self.total.get() + more);
        self.total.get()
    }
}

/// Returns the longest time that a thread has waited between two looks.
fn longest(before: &Delays, now: &Delays) -> Duration {
    let waited = now.iter().map(|(thread, delay)| {
        let earlier = before.get(thread).copied().unwrap_or_default();
        delay.saturating_sub(earlier)
    });
    waited.max().unwrap_or_default()
}

/// Returns the time in which a thread was ready to run and did not run.
fn delay(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(nanoseconds.parse().ok()?))
}

/// Returns the process among `root` and its descendants that is QEMU.
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
    fn a_processor_that_waits_is_not_hidden_by_one_that_waited_longer_before() {
        let seconds = Duration::from_secs;
        let look = |first, second| -> Delays {
            let threads = [("1", first), ("2", second)];
            threads.map(|(id, s)| (id.into(), seconds(s))).into()
        };
        assert_eq!(longest(&Delays::new(), &look(100, 60)), seconds(100));
        assert_eq!(longest(&look(100, 60), &look(100, 65)), seconds(5));
        assert_eq!(longest(&look(100, 65), &look(103, 66)), seconds(3));
    }

    #[test]
    fn what_is_no_qemu_and_starts_none_was_not_kept_waiting() {
        let of_this = Starvation::new(std::process::id()).kept_waiting();
        assert_eq!(of_this, Duration::ZERO);
    }
}
