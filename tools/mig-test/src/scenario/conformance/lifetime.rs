// SPDX-License-Identifier: GPL-2.0
//! Reset and close in each state, and files that outlive their device or session.

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::checks::Checks;
use super::oracle::{has_file, Oracle};
use super::session::{capture, enter};
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::migration::{DataFile, State};

/// The mark of the device, to see that it is cleared.
const MARK: u8 = 0x6d;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let mut device = target.open()?;
    let oracle = Oracle::new(device.migration_flags()?);
    let stream = capture(&device)?;
    let mut checks = Checks::default();

    ctx.step("reset in each state");
    for state in oracle.states() {
        let file = enter(&device, &oracle, state, &stream)?;
        target.mark(&device, MARK)?;
        checks.equal(format!("reset in {state:?}"), device.reset(), Ok(()));
        checks.equal(
            format!("state after reset in {state:?}"),
            device.state(),
            Ok(State::Running),
        );
        if let Some(mark) = target.marked(&device)? {
            checks.equal(format!("mark after reset in {state:?}"), mark, 0);
        }
        dead(&mut checks, "after reset", state, file);
    }

    ctx.step("close in each state");
    for state in oracle.states() {
        let file = enter(&device, &oracle, state, &stream)?;
        device = device.reopen()?;
        checks.equal(
            format!("state after close in {state:?}"),
            device.state(),
            Ok(State::Running),
        );
        dead(&mut checks, "after close", state, file);
    }

    ctx.step("a second open of the device");
    let second = device.group()?.open_device();
    checks.equal("second open", second.as_ref().err().copied(), None);
    device.set_state(State::Stop)?;
    drop(second);
    checks.equal(
        "state after the second is closed",
        device.state(),
        Ok(State::Stop),
    );
    device.set_state(State::Running)?;

    ctx.step("a group that is in use");
    let third = crate::vfio::device::Group::attach(target.path()).map(drop);
    checks.that("the group can be opened twice", third.is_err());

    ctx.step("a data file that outlives its device");
    device.set_state(State::Stop)?;
    let file = device
        .set_state(State::StopCopy)?
        .context("STOP_COPY came without a file")?;
    drop(device);
    drop(target);
    checks.equal(
        "read without a device",
        file.read(&mut [0]),
        Err(Errno::NODEV),
    );
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn dead(checks: &mut Checks, when: &str, state: State, file: Option<DataFile>) {
    let Some(file) = file else {
        return checks.that(format!("{state:?} came without a file"), !has_file(state));
    };
    let result = match state {
        State::Resuming => file.write(&[0]),
        _ => file.read(&mut [0]),
    };
    checks.equal(
        format!("data file of {state:?} {when}"),
        result,
        Err(Errno::NODEV),
    );
}
