// SPDX-License-Identifier: GPL-2.0
//! Commands that must fail: each with its error, without effect on others, and reported by the next
//! fence. And the errors that halt the ring.

use anyhow::Result;
use mgpu_model::error::Error;
use mgpu_model::uapi::{flag, interrupt, opcode, reg, status, NO_INDEX};

use super::card::{iova, Card, Command, Fence, DATA, FENCE, GUEST, IOVA, RING, VRAM};
use crate::scenario::conformance::checks::Checks;
use crate::vfio::dma::{Access, Dma};

/// Where nothing is.
const HOLE: u64 = IOVA + GUEST as u64;
/// Where a part of guest memory is once more, for reading only.
const READ_ONLY: u64 = HOLE + (1 << 20);
/// Length of that part.
const READ_ONLY_LEN: usize = 1 << 20;

/// Runs the checks on a card whose ring runs.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let space = &card.device.space;
    space.map_dma(Dma {
        iova: READ_ONLY,
        memory: &card.guest,
        offset: GUEST - READ_ONLY_LEN,
        len: READ_ONLY_LEN,
        access: Access::Read,
    })?;
    card.start()?;
    for (name, command, error) in bad() {
        alone(checks, card, name, command, error)?;
    }
    readable(checks, card)?;
    halts(checks, card)?;
    space.unmap_dma(READ_ONLY, READ_ONLY_LEN)?;
    card.set(reg::ERROR, 0)
}

fn bad() -> Vec<(&'static str, Command, Error)> {
    let good = Command::fill_vram(4096, 4096, 7);
    let blit = Command {
        opcode: opcode::BLIT,
        flags: flag::DST_VRAM | flag::SRC_VRAM,
        dst: 100,
        length: 64,
        height: 4,
        dst_stride: 64,
        src_stride: 65,
        ..Command::default()
    };
    let crc = Command {
        opcode: opcode::CRC32C,
        flags: flag::SRC_VRAM,
        dst: iova(DATA) + 2,
        length: 16,
        ..Command::default()
    };
    let fence = |dst| Command::fence(dst, 1);
    let fill = Command::fill_guest;
    vec![
        (
            "an unknown opcode",
            Command { opcode: 6, ..good },
            Error::Opcode,
        ),
        (
            "a reserved word",
            Command {
                reserved: 1,
                ..good
            },
            Error::Reserved,
        ),
        (
            "a flag that is not its own",
            Command { flags: 3, ..good },
            Error::Reserved,
        ),
        ("no length", Command { length: 0, ..good }, Error::Length),
        (
            "too long",
            Command {
                length: (1 << 28) + 1,
                ..good
            },
            Error::Length,
        ),
        (
            "a stride below the width",
            Command {
                dst_stride: 63,
                ..blit
            },
            Error::Length,
        ),
        ("no rows", Command { height: 0, ..blit }, Error::Length),
        ("an odd place for a checksum", crc, Error::Alignment),
        (
            "an odd place for a fence",
            fence(iova(FENCE) + 8),
            Error::Alignment,
        ),
        (
            "beyond VRAM",
            Command::fill_vram(VRAM - 1, 2, 0),
            Error::Range,
        ),
        ("beyond all addresses", fill(u64::MAX, 2, 0), Error::Range),
        ("an overlap with two strides", blit, Error::Overlap),
        (
            "reading a hole",
            Command::upload(0, HOLE, 16),
            Error::GuestRead,
        ),
        (
            "reading a hole at length",
            Command::upload(0, HOLE, 1 << 20),
            Error::GuestRead,
        ),
        (
            "reading into a hole",
            Command::upload(0, HOLE - 3, 16),
            Error::GuestRead,
        ),
        ("writing a hole", fill(HOLE, 16, 1), Error::GuestWrite),
        (
            "writing a hole at length",
            fill(HOLE, 1 << 20, 1),
            Error::GuestWrite,
        ),
        (
            "writing into a hole",
            Command::download(HOLE - 70_000, 0, 80_000),
            Error::GuestWrite,
        ),
        (
            "writing what is read-only",
            fill(READ_ONLY + 9, 16, 1),
            Error::GuestWrite,
        ),
        (
            "writing it at length",
            fill(READ_ONLY + 9, 70_000, 1),
            Error::GuestWrite,
        ),
        (
            "a fence that is read-only",
            fence(READ_ONLY),
            Error::GuestWrite,
        ),
    ]
}

/// Between good commands, which are executed; seen in the registers and by the next fence, once.
fn alone(checks: &mut Checks, card: &Card, name: &str, bad: Command, error: Error) -> Result<()> {
    let error = error.code();
    card.set(reg::ERROR, 0)?;
    card.set(reg::INTERRUPT, interrupt::ALL)?;
    let index = (card.get(reg::RING_TAIL)? + 1) % RING;
    let fence = |value| Command::fence(iova(FENCE), value);
    card.vram.write(0x20_0000, &[0; 16]);
    card.execute(&[
        Command::fill_vram(0x20_0000, 8, 0x1111_1111),
        bad,
        Command::fill_vram(0x20_0008, 8, 0x2222_2222),
        fence(40),
    ])?;
    let found = (card.get(reg::ERROR)?, card.get(reg::ERROR_INDEX)?);
    checks.equal(
        format!("{name}: ERROR and its index"),
        found,
        (error, index),
    );
    let told = Fence {
        value: 40,
        status: error,
        index,
    };
    checks.equal(format!("{name}: the fence after it"), card.fence(), told);
    checks.equal(
        format!("{name}: INTERRUPT"),
        card.get(reg::INTERRUPT)?,
        interrupt::ALL,
    );
    let mut around = [0; 16];
    card.vram.read(0x20_0000, &mut around);
    let wanted = [[0x11; 8], [0x22; 8]].concat();
    checks.equal(
        format!("{name}: the commands around it"),
        around.to_vec(),
        wanted,
    );
    card.execute(&[fence(41)])?;
    let clean = Fence {
        value: 41,
        status: 0,
        index: NO_INDEX,
    };
    checks.equal(format!("{name}: the fence after that"), card.fence(), clean);
    Ok(())
}

/// What cannot be written can be read.
fn readable(checks: &mut Checks, card: &Card) -> Result<()> {
    let at = READ_ONLY_LEN - 5000;
    card.guest.write(GUEST - 5000, b"for reading only");
    card.set(reg::ERROR, 0)?;
    card.execute(&[
        Command::upload(3, READ_ONLY + at as u64, 16),
        Command::upload(1 << 20, READ_ONLY, READ_ONLY_LEN),
    ])?;
    checks.equal(
        "error of reading what is read-only",
        card.get(reg::ERROR)?,
        0,
    );
    for place in [3, (1 << 20) + at] {
        let mut bytes = [0; 16];
        card.vram.read(place, &mut bytes);
        checks.equal("what is read-only", &bytes, b"for reading only");
    }
    Ok(())
}

fn halts(checks: &mut Checks, card: &Card) -> Result<()> {
    let halted = status::ENABLED | status::HALTED;
    card.start()?;
    card.set(reg::ERROR, 0)?;
    card.set(reg::RING_TAIL, RING)?;
    card.await_idle()?;
    let found = (card.get(reg::ERROR)?, card.get(reg::ERROR_INDEX)?);
    checks.equal(
        "TAIL beyond the ring",
        found,
        (Error::RingTail.code(), NO_INDEX),
    );
    checks.equal("STATUS then", card.get(reg::STATUS)? & halted, halted);

    // All but the first command of this ring are in the hole.
    card.start_at(HOLE - 64, 2)?;
    card.guest.write(GUEST - 64, &[0; 64]);
    card.set(reg::ERROR, 0)?;
    card.set(reg::RING_TAIL, 1)?;
    card.await_idle()?;
    checks.equal(
        "error of a command before the hole",
        card.get(reg::ERROR)?,
        0,
    );
    card.set(reg::RING_TAIL, 0)?;
    card.await_idle()?;
    let found = (card.get(reg::ERROR)?, card.get(reg::ERROR_INDEX)?);
    checks.equal("a command in the hole", found, (Error::RingRead.code(), 1));
    checks.equal("HEAD then", card.get(reg::RING_HEAD)?, 1);
    checks.equal("STATUS then", card.get(reg::STATUS)? & halted, halted);

    card.set(reg::CONTROL, 0)?;
    card.set(reg::ERROR, 0)?;
    card.start_at(IOVA + 32, RING)?;
    let found = (card.get(reg::CONTROL)?, card.get(reg::ERROR)?);
    checks.equal(
        "a ring at an odd place",
        found,
        (0, Error::RingGeometry.code()),
    );
    card.start()?;
    card.set(reg::ERROR, 0)
}
