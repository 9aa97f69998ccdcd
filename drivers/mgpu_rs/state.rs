// SPDX-License-Identifier: GPL-2.0

//! The state that migrates: everything that a guest can see or wait for, except VRAM.
//!
//! The encoding is little-endian and without padding, and each state has exactly one:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 4 | bytes of VRAM, which must be the same at the destination |
//! | 4 | 12 | DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_STRIDE; any value unless it is enabled |
//! | 16 | 1 | 1 if the display is enabled, else 0 |
//! | 17 + 127 × i | 127 | ring i |
//!
//! Each ring has:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 1 | 1 if the ring is enabled, else 0 |
//! | 1 | 1 | 1 if the ring has halted, else 0 |
//! | 2 | 1 | 1 if a command is being executed, else 0 |
//! | 3 | 8 | INTERRUPT, INTERRUPT_ENABLE: 0 in bits that do not exist |
//! | 11 | 8 | RING_BASE |
//! | 19 | 12 | RING_SIZE, RING_HEAD, RING_TAIL; the latter two are 0 unless the ring is enabled |
//! | 31 | 8 | ERROR, ERROR_INDEX |
//! | 39 | 8 | status and index that the next FENCE is to report, as in `struct mgpu_fence` |
//! | 47 | 8 | FENCE |
//! | 55 | 64 | the command that is being executed: that at RING_HEAD; 0 if there is none |
//! | 119 | 4 | bytes of its data that are done |
//! | 123 | 4 | CRC32C of these bytes if the command is CRC32C, else 0 |

use mdev_model::record::{flag, require};

use crate::{
    display::{Display, Picture},
    error::{Error, Failure},
    fields::{Reader, Writer},
    job::Job,
    queue::Queue,
    ring::Ring,
    uapi::{interrupt, COMMAND_LEN, NO_INDEX, RINGS, RING_SIZE_MAX},
};

/// A device's state. It is always valid: it comes from registers, or was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    // Configuration: the same at source and destination.
    pub(crate) vram_size: u32,

    pub(crate) display: Display,
    pub(crate) rings: [Ring; RINGS],
}

/// Bytes of the function's part.
const FUNCTION_LEN: usize = 17;
/// Bytes of a ring's part.
const RING_LEN: usize = 127;

impl State {
    /// Bytes of an encoded state.
    pub const LEN: usize = FUNCTION_LEN + RINGS * RING_LEN;

    /// Creates the state after power-on.
    pub(crate) fn new(vram_size: u32) -> Self {
        State {
            vram_size,
            display: Display::default(),
            rings: [Ring::default(); RINGS],
        }
    }

    /// Returns the encoding above.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let Self {
            vram_size,
            display,
            ref rings,
        } = *self;
        let Picture {
            width,
            height,
            stride,
        } = display.picture;
        let function = Writer::new()
            .u32(vram_size)
            .u32(width)
            .u32(height)
            .u32(stride)
            .u8(display.enabled);
        let all = rings.iter().fold(function, |out, ring| encode(ring, out));
        all.done()
    }

    /// Decodes and checks what [`Self::encode`] wrote, for a device with `vram_size` bytes of VRAM.
    pub fn decode(bytes: &[u8], vram_size: u32) -> Result<Self, &'static str> {
        require(bytes.len() == Self::LEN, "another length than a device's")?;
        let mut from = Reader(bytes);
        require(from.u32() == vram_size, "VRAM of another size")?;
        let picture = Picture {
            width: from.u32(),
            height: from.u32(),
            stride: from.u32(),
        };
        let enabled = flag(from.u8())?;
        let good = !enabled || picture.check(vram_size).is_ok();
        require(good, "an enabled display of bad geometry")?;
        let mut state = State {
            display: Display { enabled, picture },
            ..Self::new(vram_size)
        };
        for ring in &mut state.rings {
            *ring = decode(&mut from, vram_size)?;
            check(ring)?;
        }
        Ok(state)
    }
}

/// Appends a ring's part to `out`.
fn encode<const N: usize>(ring: &Ring, out: Writer<N>) -> Writer<N> {
    let Ring {
        interrupt,
        interrupt_enable,
        queue,
        error,
        fence,
        failed,
        job,
    } = *ring;
    let Queue {
        base,
        size,
        enabled,
        halted,
        head,
        tail,
    } = queue;
    let (error, error_index) = Failure::show(error);
    let (failed, failed_index) = Failure::show(failed);
    let no_job = ([0; COMMAND_LEN], 0, 0);
    let (command, done, crc) = job.map_or(no_job, |job| job.parts());
    out.u8(enabled)
        .u8(halted)
        .u8(job.is_some())
        .u32(interrupt)
        .u32(interrupt_enable)
        .u64(base)
        .u32(size)
        .u32(head)
        .u32(tail)
        .u32(error)
        .u32(error_index)
        .u32(failed)
        .u32(failed_index)
        .u64(fence)
        .bytes(&command)
        .u32(done)
        .u32(crc)
}

/// Decodes a ring's part.
fn decode(from: &mut Reader<'_>, vram_size: u32) -> Result<Ring, &'static str> {
    let enabled = flag(from.u8())?;
    let halted = flag(from.u8())?;
    let has_job = flag(from.u8())?;
    Ok(Ring {
        interrupt: from.u32(),
        interrupt_enable: from.u32(),
        queue: Queue {
            base: from.u64(),
            size: from.u32(),
            enabled,
            halted,
            head: from.u32(),
            tail: from.u32(),
        },
        error: failure(from)?,
        failed: failure(from)?,
        fence: from.u64(),
        job: job(from, has_job, vram_size)?,
    })
}

/// Checks the conditions between fields of a ring.
fn check(ring: &Ring) -> Result<(), &'static str> {
    let interrupts = ring.interrupt | ring.interrupt_enable;
    require(interrupts & !interrupt::ALL == 0, "unknown interrupts")?;
    let queue = &ring.queue;
    if queue.enabled {
        require(queue.check().is_ok(), "an enabled ring of bad geometry")?;
        let last = queue.head.max(queue.tail);
        require(last < queue.size, "an index beyond the ring")?;
    } else {
        let unused = queue.head == 0 && queue.tail == 0 && !queue.halted;
        require(unused, "progress in a ring that is not enabled")?;
        require(ring.job.is_none(), "a command without a ring")?;
        require(ring.failed.is_none(), "a failed command without a ring")?;
    }
    if let Some(failed) = ring.failed {
        require(
            failed.error.is_of_a_command(),
            "a fence status that is no command's",
        )?;
        // This implies an enabled ring, which the command belongs to.
        require(
            failed.index < queue.size,
            "a failed command beyond the ring",
        )?;
    }
    Ok(())
}

/// An error and its index.
fn failure(from: &mut Reader<'_>) -> Result<Option<Failure>, &'static str> {
    let (code, index) = (from.u32(), from.u32());
    let error = Error::from_code(code);
    require(error.is_some() || code == 0, "an unknown error")?;
    let index_is_good = if error.is_some_and(Error::has_index) {
        index < RING_SIZE_MAX
    } else {
        index == NO_INDEX
    };
    require(index_is_good, "an error with an index that it cannot have")?;
    Ok(error.map(|error| Failure { error, index }))
}

/// Decodes the command in progress, if there is one.
fn job(from: &mut Reader<'_>, exists: bool, vram_size: u32) -> Result<Option<Job>, &'static str> {
    let (command, done, crc) = (from.bytes(), from.u32(), from.u32());
    if exists {
        return Job::restore(command, done, crc, vram_size).map(Some);
    }
    let empty = command == [0; COMMAND_LEN] && done == 0 && crc == 0;
    require(empty, "traces of a command that does not exist")?;
    Ok(None)
}
