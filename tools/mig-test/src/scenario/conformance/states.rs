// SPDX-License-Identifier: GPL-2.0
//! Every ordered pair of states, compared with the oracle.

use anyhow::Result;
use rustix::io::Errno;

use super::checks::Checks;
use super::oracle::{File, Oracle};
use super::session::{capture, enter};
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::{DataFile, State};

/// Numbers that a user must not request.
const BAD_TARGETS: [u32; 3] = [State::Error as u32, 8, u32::MAX];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let oracle = Oracle::new(device.migration_flags()?);
    let stream = capture(&device)?;
    let mut checks = Checks::default();
    checks.equal(
        "state after the first open",
        device.state(),
        Ok(State::Running),
    );

    let states = oracle.states();
    for from in states {
        for to in State::TARGETS {
            let file = enter(&device, &oracle, from, &stream)?;
            pair(&mut checks, &device, &oracle, (from, to), file);
        }
        for bad in BAD_TARGETS {
            let file = enter(&device, &oracle, from, &stream)?;
            let what = format!("{from:?} -> state number {bad}");
            checks.refused(&what, device.set_state_number(bad), Errno::INVAL);
            checks.equal(format!("state after {what}"), device.state(), Ok(from));
            drop(file);
        }
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn pair(
    checks: &mut Checks,
    device: &Device,
    oracle: &Oracle,
    (from, to): (State, State),
    file: Option<DataFile>,
) {
    let what = format!("{from:?} -> {to:?}");
    let result = device.set_state(to);
    let Some(way) = oracle.way(from, to) else {
        checks.refused(&what, result, Errno::INVAL);
        checks.equal(format!("state after {what}"), device.state(), Ok(from));
        return;
    };
    let new = match result {
        Ok(new) => new,
        Err(error) => return checks.equal(&what, Some(error), None),
    };
    checks.equal(format!("state after {what}"), device.state(), Ok(to));
    let wants_new = way.last().is_some_and(|(_, effect)| *effect == File::New);
    checks.equal(format!("{what} returns a file"), new.is_some(), wants_new);
    if let Some(file) = file {
        let ended = way.iter().any(|(_, effect)| *effect == File::Ended);
        checks.equal(format!("{what} ends the file"), is_dead(&file, from), ended);
    }
}

/// Returns whether a data file is unusable. The test transfers nothing into the device: an empty
/// write reaches only the driver.
fn is_dead(file: &DataFile, state: State) -> bool {
    let result = match state {
        State::Resuming => file.write(&[]),
        _ => file.read(&mut [0]),
    };
    result == Err(Errno::NODEV)
}
