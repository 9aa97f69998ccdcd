// SPDX-License-Identifier: GPL-2.0
//! Both protocols on one device: the first one to change its state owns the session, and the other
//! one can only read the state.

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::{capture, enter, lacks};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::oracle::Oracle;
use crate::scenario::conformance::session;
use crate::scenario::conformance::source::on_each;
use crate::scenario::conformance::target::Target;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::bits::{PRE_COPY, RESUMING, RUNNING, STOP, STOP_COPY, TARGETS};
use crate::vfio::v1::{MigrationRegion, Way};

/// The states that v2 owns, and what v1 shows of each.
const SHOWN: [(State, u32); 5] = [
    (State::StopCopy, STOP_COPY),
    (State::Resuming, RESUMING),
    (State::RunningP2p, RUNNING),
    (State::PreCopy, PRE_COPY),
    (State::PreCopyP2p, PRE_COPY),
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let (Some(region), Ok(flags)) = (device.migration_region()?, device.migration_flags()) else {
        return Ok(lacks(&target, "the device does not offer both protocols"));
    };
    let mut checks = Checks::default();
    let stream = capture(&region, Way::Mapped)?;

    ctx.step("protocol v1 owns the session");
    for state in [STOP_COPY, PRE_COPY, RESUMING] {
        enter(&device, &region, state, &stream)?;
        v1_owns(&mut checks, &device, &region, state)?;
    }
    ctx.step("protocol v2 owns the session");
    let oracle = Oracle::new(flags);
    for (state, shown) in SHOWN {
        if oracle.supports(state) {
            let _file = session::enter(&device, &oracle, state, &stream)?;
            v2_owns(&mut checks, &device, &region, state, shown)?;
        }
    }
    ctx.step("nobody owns RUNNING and STOP");
    device.reset()?;
    for _ in 0..2 {
        checks.equal("v1 stops", region.set_state(STOP), Ok(()));
        let resumed = device.set_state(State::Running).map(drop);
        checks.equal("v2 resumes", resumed, Ok(()));
        let stopped = device.set_state(State::Stop).map(drop);
        checks.equal("v2 stops", stopped, Ok(()));
        checks.equal("v1 resumes", region.set_state(RUNNING), Ok(()));
    }
    ctx.step("the last close frees the session");
    drop(region);
    after_close(&mut checks, device)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Tests that in a session of v1, v2 sees the state and changes nothing.
fn v1_owns(
    checks: &mut Checks,
    device: &Device,
    region: &MigrationRegion,
    state: u32,
) -> Result<()> {
    let what = |text: &str| format!("v1 in {state}: {text}");
    let seen = SHOWN.iter().find(|(_, shown)| *shown == state);
    let seen = seen.map(|(state, _)| *state).context("no such state")?;
    for target in State::TARGETS {
        let result = device.set_state(target).map(drop);
        checks.equal(what(&format!("v2 -> {target:?}")), result, Err(Errno::BUSY));
        checks.equal(what("v2's view"), device.state(), Ok(seen));
        checks.equal(what("the state"), region.state(), Ok(state));
    }
    let size = device.stop_copy_length();
    checks.that(
        what(&format!("data size {size:?}")),
        size.is_ok_and(|n| n > 0),
    );
    // It goes on undisturbed, and v2 may when it is over.
    checks.equal(what("v1 -> running"), region.set_state(RUNNING), Ok(()));
    let file = device.set_state(State::PreCopy)?;
    checks.that(what("v2 gets no file afterwards"), file.is_some());
    checks.equal(
        what("v1 afterwards"),
        region.set_state(STOP),
        Err(Errno::BUSY),
    );
    device.reset()?;
    checks.equal(what("v1 after a reset"), region.set_state(STOP), Ok(()));
    Ok(())
}

/// Tests that in a session of v2, v1 sees the state, has no data and changes nothing.
fn v2_owns(
    checks: &mut Checks,
    device: &Device,
    region: &MigrationRegion,
    state: State,
    shown: u32,
) -> Result<()> {
    let what = |text: &str| format!("v2 in {state:?}: {text}");
    for target in TARGETS {
        let result = region.set_state(target);
        checks.equal(what(&format!("v1 -> {target}")), result, Err(Errno::BUSY));
        checks.equal(what("v1's view"), region.state(), Ok(shown));
        checks.equal(what("the state"), device.state(), Ok(state));
    }
    checks.equal(what("v1 -> 5"), region.set_state(5), Err(Errno::INVAL));
    checks.equal(what("pending"), region.pending(), Ok(0));
    checks.equal(what("data_offset"), region.data_offset(), Ok(region.start));
    checks.equal(what("data_size"), region.data_size(), Ok(0));
    checks.equal(what("loading"), region.set_data_size(8), Err(Errno::INVAL));
    let written = region.write(region.start, &[0; 8]);
    checks.equal(what("writing to the window"), written, Err(Errno::INVAL));
    // It goes on undisturbed, and v1 may when it is over.
    let resumed = device.set_state(State::Running).map(drop);
    checks.equal(what("v2 -> Running"), resumed, Ok(()));
    checks.equal(what("v1 afterwards"), region.set_state(STOP_COPY), Ok(()));
    checks.that(what("v1 has no data afterwards"), region.pending()? > 0);
    device.reset()?;
    let saves = device.set_state(State::StopCopy).map(drop);
    checks.equal(what("v2 after a reset"), saves, Ok(()));
    Ok(())
}

/// Tests that a device that was closed in a session has no owner when it is opened again.
fn after_close(checks: &mut Checks, mut device: Device) -> Result<()> {
    for by_v1 in [true, false] {
        device.reset()?;
        if by_v1 {
            let region = device.migration_region()?.context("the region is gone")?;
            region.set_state(PRE_COPY)?;
        } else {
            device.set_state(State::PreCopy)?;
        }
        device = device.reopen()?;
        let region = device.migration_region()?.context("the region is gone")?;
        checks.equal("state after a close", region.state(), Ok(RUNNING));
        checks.equal("v1 after a close", region.set_state(STOP_COPY), Ok(()));
        device.reset()?;
        let saves = device.set_state(State::StopCopy).map(drop);
        checks.equal("v2 after a close", saves, Ok(()));
    }
    Ok(())
}
