// SPDX-License-Identifier: GPL-2.0
//! Checks the kernel after a scenario: its log, pinned pages, and leaks on the debug kernel; and
//! leftover devices and QEMU processes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kernel_log::KernelLog;
use crate::mdev;

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// The age below which kmemleak does not report an object, because a pointer to it may be in
/// transit. There is no event to wait for instead.
const YOUNG: Duration = Duration::from_secs(6);
/// The prefix of the names of QEMU's programs.
const QEMU: &str = "qemu-system";
/// The number of lines of kmemleak's report that are shown.
const MOST_LINES: usize = 30;

/// The state of the kernel before a scenario.
pub struct Health {
    log: KernelLog,
    pinned: i64,
    lockdep: bool,
}

/// The state of the kernel after a scenario.
pub struct Findings {
    /// One text for each problem.
    pub complaints: Vec<String>,
    /// Whether this kernel can still detect problems of later scenarios.
    pub is_fit: bool,
}

impl Health {
    /// Records the kernel's state.
    pub fn note() -> Result<Self> {
        Ok(Health {
            log: KernelLog::from_now()?,
            pinned: pinned()?,
            lockdep: lockdep_is_on(),
        })
    }

    /// Returns the problems since then. Everything that the scenario started must have ended.
    pub fn check(mut self) -> Result<Findings> {
        let mut complaints = Vec::new();
        let devices = mdev::devices()?;
        if !devices.is_empty() {
            complaints.push(format!("devices are left: {}", devices.join(", ")));
        }
        let qemus = qemus()?;
        if qemus > 0 {
            complaints.push(format!("{qemus} QEMU processes are left"));
        }
        let pinned = pinned()? - self.pinned;
        if pinned != 0 {
            complaints.push(format!("{pinned} pages of memory stayed pinned"));
        }
        let leaks = leaks()?;
        if !leaks.is_empty() {
            complaints.push(format!("kmemleak:\n{leaks}"));
        }
        let logged = self.log.complaints()?;
        if !logged.is_empty() {
            complaints.push(format!("the kernel complains:\n{}", logged.join("\n")));
        }
        // lockdep switches itself off after its first report, also after the one that is known.
        let is_fit = complaints.is_empty() && lockdep_is_on() == self.lockdep;
        Ok(Findings { complaints, is_fit })
    }
}

/// Returns the number of running QEMUs.
fn qemus() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        // A process may end meanwhile, and what is no process has no such file.
        let name = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        count += usize::from(name.starts_with(QEMU));
    }
    Ok(count)
}

/// Returns the number of pages of this machine that are pinned by pin_user_pages() and the like.
pub fn pinned() -> Result<i64> {
    // Each processor counts for itself; this adds up.
    fs::read("/proc/sys/vm/stat_refresh")?;
    difference(&fs::read_to_string("/proc/vmstat")?)
}

fn difference(vmstat: &str) -> Result<i64> {
    let count = |name: &str| -> Result<i64> {
        let lines = vmstat.lines();
        let value = lines
            .filter_map(|line| line.split_once(' '))
            .find(|(found, _)| *found == name)
            .with_context(|| format!("/proc/vmstat has no {name}"))?;
        Ok(value.1.parse()?)
    };
    Ok(count("nr_foll_pin_acquired")? - count("nr_foll_pin_released")?)
}

/// Returns whether lockdep is present and has not disabled itself.
fn lockdep_is_on() -> bool {
    let stats = fs::read_to_string("/proc/lockdep_stats").unwrap_or_default();
    stats.lines().any(|line| {
        line.trim_start()
            .strip_prefix("debug_locks:")
            .is_some_and(|value| value.trim() == "1")
    })
}

/// Returns kmemleak's report; empty without kmemleak.
fn leaks() -> Result<String> {
    if !Path::new(KMEMLEAK).exists() {
        return Ok(String::new());
    }
    thread::sleep(YOUNG);
    // The first scan spares what has changed since the one before, so all that is new.
    for _ in 0..2 {
        fs::write(KMEMLEAK, "scan").context("kmemleak does not scan")?;
    }
    let report = fs::read_to_string(KMEMLEAK)?;
    let lines: Vec<&str> = report.lines().take(MOST_LINES).collect();
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pinned_and_not_released_is_pinned() {
        let vmstat = "nr_foll_pin_acquired 70\nnr_foll_pin_acquired_x 1\nnr_foll_pin_released 58\n";
        assert_eq!(difference(vmstat).unwrap(), 12);
        assert!(difference("nr_free_pages 1\n").is_err());
    }
}
