// SPDX-License-Identifier: GPL-2.0
//! A device is opened, moved to a state and closed repeatedly, while other threads read its
//! migration state in debugfs, which VFIO allows at any time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};

use super::checks::Checks;
use super::oracle::Oracle;
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::migration::State;

/// Where VFIO has a folder for each device.
const DEBUGFS: &str = "/sys/kernel/debug/vfio";
/// Opens of the device.
const ROUNDS: usize = 200;
/// Threads that read.
const READERS: usize = 4;
/// What the kernel prints: `vfio_device_state_read()` in `drivers/vfio/debugfs.c`.
const NAMES: [&str; 8] = [
    "ERROR",
    "STOP",
    "RUNNING",
    "STOP_COPY",
    "RESUMING",
    "RUNNING_P2P",
    "PRE_COPY",
    "PRE_COPY_P2P",
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let name = target.path().file_name().context("a device has a name")?;
    let file = Path::new(DEBUGFS).join(name).join("migration/state");
    if !file.exists() {
        return Ok(Outcome::Skipped {
            reason: format!("no {}: CONFIG_VFIO_DEBUGFS is not set", file.display()),
        });
    }
    let device = target.open()?;
    let oracle = Oracle::new(device.migration_flags()?);
    let states: Vec<State> = oracle.states().collect();
    let mut checks = Checks::default();
    let (over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = || -> Result<(), String> {
        while !over.load(Ordering::Acquire) {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if !NAMES.contains(&text.trim()) {
                return Err(text);
            }
            reads.fetch_add(1, Ordering::Release);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let worked = (0..ROUNDS).try_fold(device, |device, round| {
            let before = reads.load(Ordering::Acquire);
            device.set_state(states[round % states.len()])?;
            // The state is read while the device is open, and while it is opened and closed.
            while reads.load(Ordering::Acquire) == before
                && !readers.iter().any(|reader| reader.is_finished())
            {
                thread::yield_now();
            }
            device.reopen()
        });
        over.store(true, Ordering::Release);
        for reader in readers {
            let end = reader.join().map_err(|_| "a reader panicked".to_owned());
            checks.equal("a reader's end", end.and_then(|end| end), Ok(()));
        }
        worked.map(drop)
    })?;
    ctx.step(format!("{} reads", reads.into_inner()));
    Ok(checks.outcome())
}
