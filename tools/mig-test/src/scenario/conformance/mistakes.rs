// SPDX-License-Identifier: GPL-2.0
//! A driver's own mistakes: the SDK refuses each, names the rule in the kernel log with its
//! numbers, and says so a bounded number of times, however often a user of the device provokes it.
//! `mig-test conform` shows that line.

use std::time::Duration;

use anyhow::{bail, Context, Result};
use rustix::io::Errno;

use super::checks::Checks;
use super::source::Source;
use super::target::Target;
use crate::conform;
use crate::event::Outcome;
use crate::kernel_log::KernelLog;
use crate::scenario::{load, until, Ctx};
use crate::vfio::migration::State;

/// The drivers: tools/mig-test/kmod/mistake_rs.rs.
const MODULE: &str = "mistake_rs";
/// The model: tools/mig-test/kmod/mistake_model_rs.rs.
const MODEL: &str = "mistake_model_rs";
/// What the kernel log must say of it.
const TRANSFER_TOO_LONG: &str =
    "mdev: the driver breaks a rule: a step transfers 4097 bytes, 4096 at most are allowed";
/// The time in which it does its steps.
const PATIENCE: Duration = Duration::from_secs(5);
/// Attempts with each device.
const TIMES: usize = 40;
/// The most lines that an mdev may cause, with the one that says that it was the last.
const LINES: usize = 17;

/// Each type, what fails with it, and what the kernel log must say.
const MISTAKES: [(&str, Fails, &str); 8] = [
    (
        "bar-size",
        Fails::Open(Errno::INVAL),
        "mdev: the driver's identity: BAR 0: memory must be a power of two of at least 16 bytes, and \
         not too large",
    ),
    (
        "msix",
        Fails::Open(Errno::INVAL),
        "mdev: the driver's identity: the MSI-X table and its pending bits must be in a BAR, aligned \
         and apart",
    ),
    (
        "part-beyond",
        Fails::Open(Errno::INVAL),
        "mdev: the driver breaks a rule: the part at 0x1000 to 0x5000 of BAR 1: it must be within \
         the BAR",
    ),
    (
        "memory-twice",
        Fails::Open(Errno::BUSY),
        "mdev: the driver breaks a rule: the memory of BAR 2 is another part, too",
    ),
    (
        "record-too-long",
        Fails::Save(Errno::INVAL),
        "mdev: the driver breaks a rule: a record with tag 0x100 has 5 bytes, RECORDS says 4 at most",
    ),
    (
        "record-unknown",
        Fails::Save(Errno::INVAL),
        "mdev: the driver breaks a rule: tag 0x101 of a record is not in RECORDS",
    ),
    (
        "record-of-the-sdk",
        Fails::Save(Errno::INVAL),
        "mdev: the driver breaks a rule: tag 0x1 of a record is the SDK's",
    ),
    (
        "more-of-nothing",
        Fails::Save(Errno::IO),
        "mdev: the driver breaks a rule: save must write a record before it returns More",
    ),
];

/// What a mistake makes fail, and with which error.
enum Fails {
    /// The open of the device.
    Open(Errno),
    /// A read of the data file.
    Save(Errno),
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let mut checks = Checks::default();
    for (name, fails, says) in MISTAKES {
        ctx.step(name);
        let target = Source::Type(format!("mistake/mistake-{name}")).target(ctx)?;
        let mut log = KernelLog::from_now()?;
        for _ in 0..TIMES {
            match fails {
                Fails::Open(errno) => checks.equal(name, open(&target)?, Err(errno)),
                Fails::Save(errno) => checks.equal(name, save(&target)?, Err(errno)),
            }
        }
        names(&mut checks, &mut log, name, says)?;
        drop(target);
        // Another mdev, since the kernel has said enough of that one.
        let target = Source::Type(format!("mistake/mistake-{name}")).target(ctx)?;
        let shows = conform::first_violation(&target)?;
        checks.that(
            format!("{name}: conform shows {shows:?}"),
            shows.contains(says),
        );
    }
    ctx.step("transfer-too-long");
    load(MODEL)?;
    let target = Source::Type(format!("{MODEL}/{MODEL}-1")).target(ctx)?;
    let mut log = KernelLog::from_now()?;
    let faults = transfer(&target)?;
    checks.equal("faults that the model was told of", faults, TIMES as u32);
    names(
        &mut checks,
        &mut log,
        "transfer-too-long",
        TRANSFER_TOO_LONG,
    )?;
    Ok(checks.outcome())
}

/// Checks that the kernel log names the rule, and not too often.
fn names(checks: &mut Checks, log: &mut KernelLog, name: &str, says: &str) -> Result<()> {
    let lines = log.lines_with(&["mdev: "])?;
    checks.that(
        format!("{name}: the log says {lines:?}"),
        lines.iter().any(|line| line.ends_with(says)),
    );
    checks.that(
        format!("{name}: {} lines of {TIMES} attempts", lines.len()),
        lines.len() <= LINES,
    );
    Ok(())
}

/// Asks the model for transfers, and returns how many of them have failed.
fn transfer(target: &Target) -> Result<u32> {
    let device = target.open()?;
    let register = device.region(0, None)?.offset;
    device.write(register, &(TIMES as u32).to_le_bytes())?;
    until(PATIENCE, || Ok(device.read_u32(register)? == TIMES as u32))?;
    Ok(device.read_u32(register)?)
}

/// Opens a device and closes it.
fn open(target: &Target) -> Result<Result<(), Errno>> {
    match target.open() {
        Ok(_) => Ok(Ok(())),
        Err(error) => {
            let errno = error.downcast_ref::<Errno>().copied();
            Ok(Err(errno.with_context(|| format!("{error:#}"))?))
        }
    }
}

/// Reads a stream to its end.
fn save(target: &Target) -> Result<Result<(), Errno>> {
    let device = target.open()?;
    device.set_state(State::Stop)?;
    let file = device.set_state(State::StopCopy)?;
    let file = file.context("STOP_COPY has a data file")?;
    let mut bytes = [0; 4096];
    for _ in 0..TIMES {
        match file.read(&mut bytes) {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => {}
            Err(errno) => return Ok(Err(errno)),
        }
    }
    bail!("the stream does not end");
}
