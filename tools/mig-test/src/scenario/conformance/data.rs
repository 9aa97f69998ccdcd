// SPDX-License-Identifier: GPL-2.0
//! The data file: the results of reads, writes and queries in each phase, in any segmentation.

use anyhow::{Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, VFIO_DEVICE_FEATURE_SET, VFIO_MIGRATION_PRE_COPY,
};

use super::checks::Checks;
use super::oracle::Oracle;
use super::places::pieces;
use super::session::{capture, enter, read_in_pieces};
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::{DataFile, State};

/// Length of `struct vfio_precopy_info`.
const PRECOPY_INFO: u32 = 24;
/// Sizes of reads and writes; each list is repeated.
const SPLITS: [&[usize]; 6] = [&[1], &[2, 1], &[3, 16, 7], &[15], &[17, 1, 64], &[4096]];
/// The mark of the device, to recognize its state.
const MARK: u8 = 0xb7;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let oracle = Oracle::new(device.migration_flags()?);
    let mut checks = Checks::default();
    target.mark(&device, MARK)?;
    let stream = capture(&device)?;
    checks.that("the stream is empty", !stream.is_empty());

    ctx.step("sizes in every state");
    for state in oracle.states() {
        let _file = enter(&device, &oracle, state, &stream)?;
        let length = device.stop_copy_length();
        // QEMU fails with a zero-sized buffer otherwise.
        checks.that(
            format!("data size in {state:?}: {length:?}"),
            length.is_ok_and(|n| n > 0),
        );
    }
    ctx.step("stop-copy");
    stop_copy(&mut checks, &device)?;
    if oracle.supports(State::PreCopy) {
        ctx.step("pre-copy");
        pre_copy(&mut checks, &device, &oracle)?;
        precopy_info(&mut checks, &target, &device, &oracle)?;
    } else {
        checks.refused("PRE_COPY", device.set_state(State::PreCopy), Errno::INVAL);
    }
    ctx.step("any split of writes");
    for split in SPLITS {
        device.reset()?;
        device.set_state(State::Stop)?;
        let file = open(&device, State::Resuming)?;
        let what = format!("the stream in pieces of {split:?}");
        let sizes = pieces(stream.len(), split);
        checks.equal(&what, file.write_split(&stream, &sizes), Ok(()));
        checks.equal(&what, device.set_state(State::Stop).map(drop), Ok(()));
        device.set_state(State::Running)?;
        if let Some(mark) = target.marked(&device)? {
            checks.equal(format!("{what}: the mark"), mark, MARK);
        }
        if target.has_records(&stream) {
            checks.that(
                format!("{what} and saved again differs"),
                capture(&device)? == stream,
            );
        }
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn open(device: &Device, state: State) -> Result<DataFile> {
    device
        .set_state(state)?
        .with_context(|| format!("{state:?} came without a file"))
}

fn stop_copy(checks: &mut Checks, device: &Device) -> Result<()> {
    device.reset()?;
    let stream = capture(device)?;
    for size in [1, 7, 4096] {
        device.set_state(State::Stop)?;
        let file = open(device, State::StopCopy)?;
        let read = read_in_pieces(&file, size)?;
        checks.that(
            format!("stop-copy in pieces of {size} differs"),
            read == (stream.clone(), true),
        );
        checks.equal("read at the end", file.read(&mut [0; 16]), Ok(0));
        checks.equal("read at the end again", file.read(&mut [0; 16]), Ok(0));
        checks.equal("pread", file.read_at(0), Err(Errno::SPIPE));
        checks.equal("write to a saving file", file.write(&[0]), Err(Errno::BADF));
        let info = file.precopy_info(None, 0);
        checks.refused("PRECOPY_INFO in STOP_COPY", info, Errno::INVAL);
        device.set_state(State::Running)?;
        checks.equal(
            "read of an ended session",
            file.read(&mut [0]),
            Err(Errno::NODEV),
        );
    }
    device.set_state(State::Stop)?;
    let file = open(device, State::Resuming)?;
    checks.equal(
        "read of a loading file",
        file.read(&mut [0]),
        Err(Errno::BADF),
    );
    device.reset()?;
    checks.equal(
        "write after a reset",
        file.write(&stream[..1]),
        Err(Errno::NODEV),
    );
    Ok(())
}

/// Checks that a session through PRE_COPY is a complete stream, and that the ends in PRE_COPY are
/// not final.
fn pre_copy(checks: &mut Checks, device: &Device, oracle: &Oracle) -> Result<()> {
    for size in [1, 5, 4096] {
        device.reset()?;
        let file = open(device, State::PreCopy)?;
        let (mut whole, is_final) = read_in_pieces(&file, size)?;
        checks.that(
            "a temporary end of pre-copy reads as end of file",
            !is_final,
        );
        checks.equal("pread in PRE_COPY", file.read_at(0), Err(Errno::SPIPE));
        if oracle.supports(State::PreCopyP2p) {
            device.set_state(State::PreCopyP2p)?;
            let (more, is_final) = read_in_pieces(&file, size)?;
            checks.that(
                "a temporary end in PRE_COPY_P2P reads as end of file",
                !is_final,
            );
            whole.extend(more);
        }
        device.set_state(State::StopCopy)?;
        let (rest, is_final) = read_in_pieces(&file, size)?;
        checks.that("STOP_COPY has no end", is_final);
        whole.extend(rest);
        device.reset()?;
        checks.equal("read after a reset", file.read(&mut [0]), Err(Errno::NODEV));

        device.set_state(State::Stop)?;
        let file = open(device, State::Resuming)?;
        let what = format!("loading a stream with pre-copy, read in pieces of {size}");
        let sizes = pieces(whole.len(), &[size]);
        checks.equal(&what, file.write_split(&whole, &sizes), Ok(()));
        checks.equal(&what, device.set_state(State::Running).map(drop), Ok(()));
    }
    Ok(())
}

fn precopy_info(
    checks: &mut Checks,
    target: &Target,
    device: &Device,
    oracle: &Oracle,
) -> Result<()> {
    device.reset()?;
    // What was there before the session is initial, however it came to be.
    target.mark(device, MARK)?;
    let file = open(device, State::PreCopy)?;
    let before = file.precopy_info(None, 0)?;
    checks.that("there is no initial data", before.initial > 0);
    checks.equal("dirty bytes at the start", before.dirty, 0);
    file.read(&mut [0])?;
    let after = file.precopy_info(None, 0)?.initial;
    // How finely a device counts is its own affair.
    let wanted = before.initial.saturating_sub(u64::from(target.is_ours));
    checks.that(
        format!(
            "initial bytes {after} once one of {} is read",
            before.initial
        ),
        after == wanted || !target.is_ours && after < wanted,
    );
    read_in_pieces(&file, 4096)?;
    let end = file.precopy_info(None, 0)?;
    checks.equal(
        "sizes at the temporary end",
        (end.initial, end.dirty),
        (0, 0),
    );
    for short in [0, 8, PRECOPY_INFO - 1] {
        let result = file.precopy_info(Some(short), 0);
        checks.refused(
            format!("PRECOPY_INFO of {short} bytes"),
            result,
            Errno::INVAL,
        );
    }
    checks.equal(
        "a longer PRECOPY_INFO",
        file.precopy_info(Some(64), 0).is_ok(),
        true,
    );
    checks.refused("an unknown ioctl", file.unknown_ioctl(), Errno::NOTTY);
    if oracle.supports(State::PreCopyP2p) {
        device.set_state(State::PreCopyP2p)?;
        checks.equal(
            "PRECOPY_INFO in PRE_COPY_P2P",
            file.precopy_info(None, 0).is_ok(),
            true,
        );
    }
    device.set_state(State::Running)?;
    let result = file.precopy_info(None, 0);
    checks.that(
        format!("PRECOPY_INFO after the session: {result:?}"),
        result.is_err(),
    );

    // Without the opt-in flags come back as they were passed; with it they mean something.
    let file = open(device, State::PreCopy)?;
    checks.equal(
        "flags without the opt-in",
        file.precopy_info(None, 0x8000_0000)?.flags,
        1 << 31,
    );
    device.set_state(State::Running)?;
    if device
        .can_set(VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2)
        .is_ok()
    {
        device.feature(
            VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
            &[],
            None,
        )?;
        let file = open(device, State::PreCopy)?;
        checks.equal(
            "flags with the opt-in",
            file.precopy_info(None, 0x8000_0000)?.flags,
            0,
        );
        device.set_state(State::Running)?;
    }
    let flags = device.migration_flags()?;
    checks.that(
        "PRE_COPY is not among the flags",
        flags & u64::from(VFIO_MIGRATION_PRE_COPY) != 0,
    );
    Ok(())
}
