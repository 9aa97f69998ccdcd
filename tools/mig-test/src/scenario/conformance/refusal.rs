// SPDX-License-Identifier: GPL-2.0
//! Streams that differ from what a device has saved: truncated or changed anywhere. The device must
//! refuse them and keep its state.

use anyhow::{Context, Result};

use super::checks::Checks;
use super::places::places;
use super::session::capture;
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::{DataFile, State};

/// The mark of the state that the stream holds.
const SAVED: u8 = 0xb7;
/// The mark of the device's previous state.
const BEFORE: u8 = 0x42;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    target.mark(&device, SAVED)?;
    let stream = capture(&device)?;
    let mut checks = Checks::default();
    let places = places(stream.len());

    ctx.step(format!(
        "the stream of {} bytes cut short at {} of them",
        stream.len(),
        places.len()
    ));
    for length in &places {
        let what = format!("its first {length} bytes");
        refused(&mut checks, &target, &device, &what, &stream[..*length])?;
    }
    let longer = [&stream[..], b"x"].concat();
    refused(&mut checks, &target, &device, "one byte too many", &longer)?;
    if target.has_records(&stream) {
        ctx.step("each of them changed in turn");
        // Each in several ways where that does not take long.
        let flips = if places.len() == stream.len() {
            &[0x01, 0x80, 0xff][..]
        } else {
            &[0x81]
        };
        for at in places {
            for flip in flips {
                let mut changed = stream.clone();
                changed[at] ^= flip;
                let what = format!("byte {at} ^ {flip:#x}");
                refused(&mut checks, &target, &device, &what, &changed)?;
            }
        }
    }
    ctx.step("the true stream after all of them");
    let file = resuming(&target, &device)?;
    let what = "the true stream";
    let written = file.write_split(&stream, &[4096]);
    checks.equal(what, written, Ok(()));
    let left = device.set_state(State::Running).map(drop);
    checks.equal("leaving RESUMING", left, Ok(()));
    if let Some(mark) = target.marked(&device)? {
        checks.equal("the mark after the true stream", mark, SAVED);
    }
    if target.has_records(&stream) {
        let again = capture(&device)?;
        checks.that("saved again, the true stream differs", again == stream);
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// A device that has a state and waits for another one.
fn resuming(target: &Target, device: &Device) -> Result<DataFile> {
    device.reset()?;
    target.mark(device, BEFORE)?;
    device.set_state(State::Stop)?;
    device
        .set_state(State::Resuming)?
        .context("RESUMING came without a file")
}

/// Requires that a stream is refused, also on a second try, that it changes nothing, and that the
/// device works after a reset.
fn refused(
    checks: &mut Checks,
    target: &Target,
    device: &Device,
    what: &str,
    stream: &[u8],
) -> Result<()> {
    let file = resuming(target, device)?;
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
    if let Some(mark) = target.marked(device)? {
        checks.equal(format!("{what}: the mark afterwards"), mark, BEFORE);
    }
    device.reset()?;
    checks.equal(
        format!("{what}: state after reset"),
        device.state(),
        Ok(State::Running),
    );
    Ok(())
}
