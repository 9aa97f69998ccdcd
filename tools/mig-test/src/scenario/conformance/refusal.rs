// SPDX-License-Identifier: GPL-2.0
//! Streams that are not what a device has saved: cut short or changed anywhere.

use anyhow::{Context, Result};

use super::checks::Checks;
use super::session::capture;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let target = Target::prepare(ctx)?;
    let device = target.open()?;
    let stream = capture(&device)?;
    let mut checks = Checks::default();

    ctx.step(format!(
        "the stream cut short at each of its {} bytes",
        stream.len()
    ));
    for length in 0..stream.len() {
        refused(
            &mut checks,
            &device,
            &format!("its first {length} bytes"),
            &stream[..length],
        )?;
    }
    let longer = [&stream[..], b"x"].concat();
    refused(&mut checks, &device, "one byte too many", &longer)?;
    if target.has_records() {
        ctx.step("every byte changed in turn");
        for at in 0..stream.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = stream.clone();
                changed[at] ^= flip;
                refused(
                    &mut checks,
                    &device,
                    &format!("byte {at} ^ {flip:#x}"),
                    &changed,
                )?;
            }
        }
    }
    ctx.step("the true stream after all of them");
    let file = resuming(&device)?;
    checks.equal(
        "the true stream",
        file.write_split(&stream, &[4096]),
        Ok(()),
    );
    checks.equal(
        "leaving RESUMING",
        device.set_state(State::Running).map(drop),
        Ok(()),
    );
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn resuming(device: &Device) -> Result<crate::vfio::migration::DataFile> {
    device.reset()?;
    device.set_state(State::Stop)?;
    device
        .set_state(State::Resuming)?
        .context("RESUMING came without a file")
}

/// Demands that a stream is not accepted, neither at once nor on a second try, and that a reset makes
/// the device whole again.
fn refused(checks: &mut Checks, device: &Device, what: &str, stream: &[u8]) -> Result<()> {
    let file = resuming(device)?;
    let written = file.write_split(stream, &[4096]);
    if written.is_err() {
        let again = file.write(stream);
        checks.that(
            format!("{what}: a write after the refusal: {again:?}"),
            again.is_err(),
        );
    }
    let left = device.set_state(State::Stop).map(drop);
    checks.that(format!("{what} is accepted"), left.is_err());
    device.reset()?;
    checks.equal(
        format!("{what}: state after reset"),
        device.state(),
        Ok(State::Running),
    );
    Ok(())
}
