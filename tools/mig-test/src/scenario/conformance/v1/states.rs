// SPDX-License-Identifier: GPL-2.0
//! Every ordered pair of values of `device_state`, including invalid ones.

use anyhow::Result;
use rustix::io::Errno;

use super::{capture, enter, no_region};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::source::on_each;
use crate::scenario::conformance::target::Target;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::bits::{PRE_COPY, RESUMING, RUNNING, STOP, STOP_COPY, TARGETS};
use crate::vfio::v1::{MigrationRegion, Way};

/// Values that mean no state: the invalid combinations, the error indication, reserved bits.
const BAD: [u32; 8] = [5, 6, 7, 8, 9, 0x100, 1 << 31, u32::MAX];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let Some(region) = device.migration_region()? else {
        return Ok(no_region(&target));
    };
    let mut checks = Checks::default();
    checks.equal("state after the first open", region.state(), Ok(RUNNING));
    let stream = capture(&region, Way::Mapped)?;
    for from in TARGETS {
        for to in TARGETS.into_iter().chain(BAD) {
            enter(&device, &region, from, &stream)?;
            pair(&mut checks, &device, &region, from, to);
        }
    }
    ctx.step("leaving RESUMING without a state");
    for to in TARGETS {
        device.reset()?;
        region.set_state(RESUMING)?;
        let wanted = match to {
            RESUMING => Ok(()),
            _ => Err(Errno::INVAL),
        };
        checks.equal(
            format!("empty {RESUMING} -> {to}"),
            region.set_state(to),
            wanted,
        );
        checks.equal("state after it", region.state(), Ok(RESUMING));
    }
    device.reset()?;
    checks.equal("state after a reset", region.state(), Ok(RUNNING));
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn pair(checks: &mut Checks, device: &Device, region: &MigrationRegion, from: u32, to: u32) {
    let what = format!("{from} -> {to:#x}");
    // A finished pre-copy is not taken up again.
    let legal = TARGETS.contains(&to) && (from, to) != (STOP_COPY, PRE_COPY);
    let (result, now) = match legal {
        true => (Ok(()), to),
        false => (Err(Errno::INVAL), from),
    };
    checks.equal(&what, region.set_state(to), result);
    checks.equal(format!("state after {what}"), region.state(), Ok(now));
    let seen = match now {
        STOP => State::Stop,
        RUNNING => State::Running,
        STOP_COPY => State::StopCopy,
        PRE_COPY => State::PreCopy,
        _ => State::Resuming,
    };
    // A device may have this protocol alone.
    if let Ok(state) = device.state() {
        checks.equal(format!("protocol v2's view after {what}"), state, seen);
    }
    let pending = region.pending();
    match now {
        // What pre-copy has is the device's affair.
        PRE_COPY => checks.that(format!("{what}: pending {pending:?}"), pending.is_ok()),
        STOP_COPY => checks.that(
            format!("{what}: pending {pending:?}"),
            pending.is_ok_and(|bytes| bytes > 0),
        ),
        _ => checks.equal(format!("pending after {what}"), pending, Ok(0)),
    }
}
