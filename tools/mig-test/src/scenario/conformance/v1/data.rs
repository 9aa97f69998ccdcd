// SPDX-License-Identifier: GPL-2.0
//! A stream in chunks: pending bytes, the acknowledgement of chunks, abandoned sessions, and
//! streams that differ from what a device has saved.

use anyhow::{ensure, Result};
use rustix::io::Errno;

use super::{capture, no_region};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::places::{pieces, places};
use crate::scenario::conformance::source::on_each;
use crate::scenario::conformance::target::Target;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::v1::bits::{PRE_COPY, RESUMING, RUNNING, STOP, STOP_COPY};
use crate::vfio::v1::{MigrationRegion, Way};

/// Sizes of pieces that are loaded, each list over and over.
const SPLITS: [&[usize]; 5] = [&[1], &[3, 16, 7], &[15], &[17, 1, 64], &[1 << 20]];
/// The mark of the state that the stream holds.
const SAVED: u8 = 0x5c;
/// The mark of the state that the device has before.
const BEFORE: u8 = 0x42;

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
    target.mark(&device, SAVED)?;
    let stream = capture(&region, Way::Mapped)?;
    checks.that("the stream is empty", !stream.is_empty());

    ctx.step("mapped and trapped");
    let trapped = capture(&region, Way::Trapped)?;
    checks.that("a trapped window gives another stream", trapped == stream);
    ctx.step("chunks");
    chunks(&mut checks, &device, &region, &stream)?;
    ctx.step("any pieces");
    for split in SPLITS {
        for way in [Way::Mapped, Way::Trapped] {
            let what = format!("loaded in pieces of {split:?}, {way:?}");
            device.reset()?;
            region.set_state(RESUMING)?;
            let sizes = pieces(stream.len(), split);
            checks.equal(&what, region.load(way, &stream, &sizes), Ok(()));
            checks.equal(&what, region.set_state(RUNNING), Ok(()));
            marked(&mut checks, &target, &device, &what, SAVED)?;
            let again = capture(&region, Way::Mapped)?;
            checks.that(format!("{what} and saved again differs"), again == stream);
        }
    }
    let has_records = target.has_records(&stream);
    if has_records {
        ctx.step("sessions that are given up");
        given_up(&mut checks, &device, &region)?;
    }
    ctx.step("streams that are torn or bent");
    torn(&mut checks, &target, &device, &region, &stream)?;
    if has_records {
        bent(&mut checks, &target, &device, &region, &stream)?;
    }
    ctx.step("the window after a session");
    forgotten(&mut checks, &device, &region)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Tests that a chunk stays until it is acknowledged, whatever is read meanwhile.
fn chunks(
    checks: &mut Checks,
    device: &Device,
    region: &MigrationRegion,
    stream: &[u8],
) -> Result<()> {
    device.reset()?;
    // Chunks are what they are also where the device was loaded with its own state.
    region.set_state(RESUMING)?;
    region.load(Way::Mapped, stream, &[stream.len()])?;
    region.set_state(STOP_COPY)?;
    let before = (region.pending()?, region.pending()?);
    checks.equal("pending again", before.1, before.0);
    let mut first = Vec::new();
    let size = region.take_chunk(Way::Mapped, &mut first)?;
    checks.that("an empty chunk", size > 0);
    for way in [Way::Trapped, Way::Mapped] {
        let mut again = Vec::new();
        region.take_chunk(way, &mut again)?;
        checks.that(format!("the same chunk {way:?} differs"), again == first);
    }
    region.drain(Way::Mapped, &mut first)?;
    checks.that("the chunks are not the stream", first == stream);
    for _ in 0..2 {
        checks.equal("pending at the end", region.pending(), Ok(0));
        checks.equal("data_size at the end", region.data_size(), Ok(0));
    }
    checks.equal(
        "loading while saving",
        region.set_data_size(8),
        Err(Errno::INVAL),
    );

    device.reset()?;
    let mut whole = Vec::new();
    region.set_state(PRE_COPY)?;
    let early = region.pending()?;
    checks.that("nothing to refuse a stream by in pre-copy", early > 0);
    let taken = region.take_chunk(Way::Mapped, &mut whole)? as u64;
    // Stopping acknowledges, too.
    region.set_state(STOP_COPY)?;
    region.set_state(STOP_COPY)?;
    region.drain(Way::Mapped, &mut whole)?;
    checks.equal("bytes of pre-copy", taken, early);
    region.set_state(STOP)?;
    region.set_state(RESUMING)?;
    let loaded = region.load(Way::Mapped, &whole, &[whole.len()]);
    checks.equal("a stream with pre-copy", loaded, Ok(()));
    checks.equal("leaving RESUMING", region.set_state(RUNNING), Ok(()));
    Ok(())
}

/// Tests a user that stops and continues the VM while it migrates: the stream has the data of the
/// first session before a complete second one.
fn given_up(checks: &mut Checks, device: &Device, region: &MigrationRegion) -> Result<()> {
    for stops in [false, true] {
        device.reset()?;
        let mut stream = Vec::new();
        region.set_state(PRE_COPY)?;
        region.pending()?;
        region.take_chunk(Way::Mapped, &mut stream)?;
        if stops {
            region.set_state(STOP_COPY)?;
            region.pending()?;
            region.take_chunk(Way::Mapped, &mut stream)?;
        }
        let given_up = stream.len();
        region.set_state(RUNNING)?;
        checks.equal("pending while running", region.pending(), Ok(0));
        region.set_state(STOP)?;
        checks.equal("pending while stopped", region.pending(), Ok(0));
        region.set_state(STOP_COPY)?;
        region.drain(Way::Mapped, &mut stream)?;
        region.set_state(STOP)?;
        ensure!(given_up > 0, "there is nothing to give up");
        for split in SPLITS {
            let what = format!("{given_up} bytes given up, in pieces of {split:?}");
            region.set_state(RESUMING)?;
            let sizes = pieces(stream.len(), split);
            let loaded = region.load(Way::Mapped, &stream, &sizes);
            checks.equal(&what, loaded, Ok(()));
            checks.equal(&what, region.set_state(STOP), Ok(()));
        }
    }
    Ok(())
}

/// Demands a mark, of a device that has one.
fn marked(
    checks: &mut Checks,
    target: &Target,
    device: &Device,
    what: &str,
    wanted: u8,
) -> Result<()> {
    if let Some(mark) = target.marked(device)? {
        checks.equal(format!("{what}: the mark"), mark, wanted);
    }
    Ok(())
}

/// A device that has a state of its own and waits for another one.
fn resuming(target: &Target, device: &Device, region: &MigrationRegion) -> Result<()> {
    device.reset()?;
    target.mark(device, BEFORE)?;
    region.set_state(RESUMING)?;
    Ok(())
}

/// Tests that a stream that ends early does not leave RESUMING and changes nothing, and that a
/// complete one can follow.
fn torn(
    checks: &mut Checks,
    target: &Target,
    device: &Device,
    region: &MigrationRegion,
    stream: &[u8],
) -> Result<()> {
    for length in places(stream.len()) {
        resuming(target, device, region)?;
        region.load(Way::Mapped, &stream[..length], &[length.max(1)])?;
        let what = format!("its first {length} bytes");
        checks.equal(&what, region.set_state(RUNNING), Err(Errno::INVAL));
        checks.equal(&what, region.state(), Ok(RESUMING));
        marked(checks, target, device, &what, BEFORE)?;
        let what = format!("{what}, and the rest");
        let rest = region.load(Way::Mapped, &stream[length..], &[stream.len()]);
        checks.equal(&what, rest, Ok(()));
        checks.equal(&what, region.set_state(RUNNING), Ok(()));
        marked(checks, target, device, &what, SAVED)?;
    }
    Ok(())
}

/// Tests that a changed stream is refused at its write, for good, and changes nothing.
fn bent(
    checks: &mut Checks,
    target: &Target,
    device: &Device,
    region: &MigrationRegion,
    stream: &[u8],
) -> Result<()> {
    let places = places(stream.len());
    let mut late = 0;
    for at in &places {
        let mut changed = stream.to_vec();
        changed[*at] ^= 0x81;
        resuming(target, device, region)?;
        let what = format!("byte {at} changed");
        match region.load(Way::Mapped, &changed, &[changed.len()]) {
            Ok(()) => late += 1,
            Err(_) => {
                let again = region.load(Way::Mapped, stream, &[stream.len()]);
                checks.equal(format!("{what}: once more"), again, Err(Errno::NODEV));
            }
        }
        checks.equal(&what, region.set_state(RUNNING), Err(Errno::INVAL));
        checks.equal(&what, region.state(), Ok(RESUMING));
        marked(checks, target, device, &what, BEFORE)?;
    }
    // A length that became larger is missing bytes, and that shows at the end.
    checks.that(
        format!("{late} of {} changes were taken", places.len()),
        late * 20 < places.len(),
    );
    Ok(())
}

/// Tests that the memory of a session is freed with it, and that a mapping then shows zeros.
fn forgotten(checks: &mut Checks, device: &Device, region: &MigrationRegion) -> Result<()> {
    device.reset()?;
    region.set_state(RESUMING)?;
    let len = region.window.len();
    let ends = [0, len / 2, len - 1];
    for at in ends {
        region.window.write(at, &[0xee]);
    }
    let mut byte = [0];
    region.read(region.size - 1, &mut byte)?;
    checks.equal("a trapped read of what was mapped", byte, [0xee]);
    for reset in [true, false] {
        if reset {
            device.reset()?;
        } else {
            region.set_state(STOP_COPY)?;
        }
        for at in ends {
            region.window.read(at, &mut byte);
            let what = format!("byte {at} in the next session ({reset})");
            checks.that(what, byte != [0xee]);
            region.window.write(at, &[0xee]);
        }
    }
    device.reset()?;
    checks.equal("state at the end", region.state(), Ok(RUNNING));
    Ok(())
}
