// SPDX-License-Identifier: GPL-2.0
//! Several threads on one device: registers, states, data and reset concurrently. Each kind of call
//! must succeed sometimes, no call may hang, the kernel log must stay clean (the agent checks it),
//! and the device must work in the end.

use anyhow::Result;
use mig_common::random::Random;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR0_REGION_INDEX;

use super::checks::Checks;
use super::oracle::Oracle;
use super::race::{race, some, whole, Seen, MARK};
use super::session::capture;
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::mgpu::random;
use crate::scenario::Ctx;
use crate::vfio::device::{Device, RegionInfo};
use crate::vfio::migration::State;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let oracle = Oracle::new(device.migration_flags()?);
    let bar = device.region(VFIO_PCI_BAR0_REGION_INDEX, None)?;
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    device.reset()?;
    let new = capture(&device)?;
    target.mark(&device, MARK)?;
    let stream = capture(&device)?;

    let wanted = oracle.states().map(|state| format!("{state:?}"));
    let others = ["reset", "read", "write", "saving", "loading"];
    let wanted: Vec<_> = wanted.chain(others.map(String::from)).collect();

    ctx.step("four threads, and resets");
    let registers = |random: &mut Random, seen: &mut Seen| access(&device, &bar, random, seen);
    let states = |random: &mut Random, seen: &mut Seen| change(&device, &stream, random, seen);
    let acts = [&registers as _, &registers as _, &states as _, &states as _];
    let seen = race(&device, &mut random, &acts, &wanted);
    ctx.step(seen.counts());
    seen.judge(&mut checks, &wanted);
    checks.equal("reset after it all", device.reset(), Ok(()));
    checks.equal("state after it all", device.state(), Ok(State::Running));
    whole(&mut checks, &target, &capture(&device)?, &new);
    Ok(checks.outcome())
}

/// Reads and writes a register. A stopped device may return any error.
fn access(device: &Device, bar: &RegionInfo, random: &mut Random, seen: &mut Seen) {
    let at = bar.offset + random.below(bar.size.max(1) as usize) as u64;
    if device.read_byte(at).is_ok() {
        seen.done("read");
    }
    if device.write_byte(at, random.next_u64() as u8).is_ok() {
        seen.done("write");
    }
}

/// Requests a state and uses its file.
fn change(device: &Device, stream: &[u8], random: &mut Random, seen: &mut Seen) {
    let state = State::TARGETS[random.below(State::TARGETS.len())];
    let file = match device.set_state(state) {
        Ok(file) => file,
        Err(Errno::INVAL | Errno::NODEV | Errno::BUSY) => return,
        Err(error) => return seen.strange(format!("{state:?}: {error:?}")),
    };
    seen.done(format!("{state:?}"));
    let Some(file) = file else {
        return;
    };
    let (what, result) = match state {
        State::Resuming => ("loading", file.write(&stream[..some(stream.len(), random)])),
        _ => ("saving", file.read(&mut [0; 64])),
    };
    match result {
        Ok(0) | Err(Errno::NODEV | Errno::NOMSG | Errno::INVAL) => {}
        Ok(_) => seen.done(what),
        Err(error) => seen.strange(format!("data file of {state:?}: {error:?}")),
    }
}
