// SPDX-License-Identifier: GPL-2.0
//! A stream in chunks: what is pending, when a chunk is taken, sessions that are given up, and streams
//! that are not what a device has saved.

use anyhow::{ensure, Result};
use rustix::io::Errno;

use super::{capture, no_region};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::target::Target;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::v1::bits::{PRE_COPY, RESUMING, RUNNING, STOP, STOP_COPY};
use crate::vfio::v1::{MigrationRegion, Way};

/// Sizes of pieces that are loaded, each list over and over.
const SPLITS: [&[usize]; 5] = [&[1], &[3, 16, 7], &[15], &[17, 1, 64], &[1 << 20]];
/// What a scratch register is set to, to see it again.
const MARK: u8 = 0x5c;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let target = Target::prepare(ctx)?;
    let device = target.open()?;
    let Some(region) = device.migration_region()? else {
        return Ok(no_region());
    };
    let mut checks = Checks::default();
    let uart = target.uart(&device)?;
    if let Some(uart) = uart {
        device.write_byte(uart.scr(), MARK)?;
    }
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
            checks.equal(&what, region.load(way, &stream, split), Ok(()));
            checks.equal(&what, region.set_state(RUNNING), Ok(()));
            if let Some(uart) = uart {
                checks.equal(&what, device.read_byte(uart.scr()), Ok(MARK));
            }
            let again = capture(&region, Way::Mapped)?;
            checks.that(format!("{what} and saved again differs"), again == stream);
        }
    }
    if target.has_records() {
        ctx.step("sessions that are given up");
        given_up(&mut checks, &device, &region)?;
    }
    ctx.step("streams that are torn or bent");
    torn(&mut checks, &device, &region, &stream)?;
    if target.has_records() {
        bent(&mut checks, &device, &region, &stream)?;
    }
    ctx.step("the window after a session");
    forgotten(&mut checks, &device, &region)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// A chunk stays until it is acknowledged, whatever is read meanwhile.
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

/// The user stops and continues the VM while it migrates: the stream holds what the first session gave
/// before a whole second one.
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
            let loaded = region.load(Way::Mapped, &stream, split);
            checks.equal(&what, loaded, Ok(()));
            checks.equal(&what, region.set_state(STOP), Ok(()));
        }
    }
    Ok(())
}

/// A stream that ends early does not leave RESUMING, and one that does not can still come.
fn torn(
    checks: &mut Checks,
    device: &Device,
    region: &MigrationRegion,
    stream: &[u8],
) -> Result<()> {
    for length in 0..stream.len() {
        device.reset()?;
        region.set_state(RESUMING)?;
        region.load(Way::Mapped, &stream[..length], &[length.max(1)])?;
        let what = format!("its first {length} bytes");
        checks.equal(&what, region.set_state(RUNNING), Err(Errno::INVAL));
        checks.equal(&what, region.state(), Ok(RESUMING));
        let rest = region.load(Way::Mapped, &stream[length..], &[stream.len()]);
        checks.equal(format!("{what}, and the rest"), rest, Ok(()));
        checks.equal(&what, region.set_state(RUNNING), Ok(()));
    }
    Ok(())
}

/// A stream that was changed is refused when it is handed over, for good, and changes nothing.
fn bent(
    checks: &mut Checks,
    device: &Device,
    region: &MigrationRegion,
    stream: &[u8],
) -> Result<()> {
    let mut early = 0;
    for at in 0..stream.len() {
        let mut changed = stream.to_vec();
        changed[at] ^= 0x81;
        device.reset()?;
        region.set_state(RESUMING)?;
        let what = format!("byte {at} changed");
        if region
            .load(Way::Mapped, &changed, &[changed.len()])
            .is_err()
        {
            early += 1;
            let again = region.load(Way::Mapped, stream, &[stream.len()]);
            checks.equal(format!("{what}: once more"), again, Err(Errno::NODEV));
        }
        checks.equal(&what, region.set_state(RUNNING), Err(Errno::INVAL));
        checks.equal(&what, region.state(), Ok(RESUMING));
    }
    // A length that became larger is missing bytes, and that shows at the end.
    let late = stream.len() - early;
    checks.that(
        format!("{late} changes were taken"),
        late * 20 < stream.len(),
    );
    Ok(())
}

/// The memory of a session goes with it, and whoever has it mapped sees zeros.
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
