// SPDX-License-Identifier: GPL-2.0

//! The state that migrates: everything that a guest can see or wait for, except VRAM.
//!
//! The encoding is little-endian and without padding, and each state has exactly one:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 4 | bytes of VRAM, which must be the same at the destination |
//! | 4 | 1 | 1 if the ring is enabled, else 0 |
//! | 5 | 1 | 1 if the ring has halted, else 0 |
//! | 6 | 1 | 1 if the display is enabled, else 0 |
//! | 7 | 1 | 1 if a command is being executed, else 0 |
//! | 8 | 8 | INTERRUPT, INTERRUPT_ENABLE: 0 in bits that do not exist |
//! | 16 | 8 | RING_BASE |
//! | 24 | 12 | RING_SIZE, RING_HEAD, RING_TAIL; the latter two are 0 unless the ring is enabled |
//! | 36 | 8 | ERROR, ERROR_INDEX |
//! | 44 | 8 | status and index that the next FENCE is to report, as in `struct mgpu_fence` |
//! | 52 | 8 | FENCE |
//! | 60 | 12 | DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_STRIDE; any value unless it is enabled |
//! | 72 | 64 | the command that is being executed: that at RING_HEAD; 0 if there is none |
//! | 136 | 4 | bytes of its data that are done |
//! | 140 | 4 | CRC32C of these bytes if the command is CRC32C, else 0 |

use mdev_model::record::{flag, require};

use crate::{
    display::{Display, Picture},
    error::{Error, Failure},
    fields::{Reader, Writer},
    job::Job,
    ring::Ring,
    uapi::{interrupt, COMMAND_LEN, NO_INDEX, RING_SIZE_MAX},
};

/// A device's state. It is always valid: it comes from registers, or was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    // Configuration: the same at source and destination.
    pub(crate) vram_size: u32,

    // Registers.
    pub(crate) interrupt: u32,
    pub(crate) interrupt_enable: u32,
    pub(crate) ring: Ring,
    pub(crate) error: Option<Failure>,
    pub(crate) fence: u64,
    pub(crate) display: Display,

    // Work in progress.
    /// The first failure since the last fence.
    pub(crate) failed: Option<Failure>,
    /// The command at the ring's head, if it was fetched. Implies an enabled ring.
    pub(crate) job: Option<Job>,
}

impl State {
    /// Bytes of an encoded state.
    pub const LEN: usize = 144;

    /// Creates the state after power-on.
    pub(crate) fn new(vram_size: u32) -> Self {
        State {
            vram_size,
            interrupt: 0,
            interrupt_enable: 0,
            ring: Ring::default(),
            error: None,
            fence: 0,
            display: Display::default(),
            failed: None,
            job: None,
        }
    }

    /// Returns the encoding above.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let Self {
            vram_size,
            interrupt,
            interrupt_enable,
            ring,
            error,
            fence,
            display,
            failed,
            job,
        } = *self;
        let Ring {
            base,
            size,
            enabled,
            halted,
            head,
            tail,
        } = ring;
        let Picture {
            width,
            height,
            stride,
        } = display.picture;
        let (error, error_index) = Failure::show(error);
        let (failed, failed_index) = Failure::show(failed);
        let no_job = ([0; COMMAND_LEN], 0, 0);
        let (command, done, crc) = job.map_or(no_job, |job| job.parts());
        Writer::new()
            .u32(vram_size)
            .u8(enabled)
            .u8(halted)
            .u8(display.enabled)
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
            .u32(width)
            .u32(height)
            .u32(stride)
            .bytes(&command)
            .u32(done)
            .u32(crc)
            .done()
    }

    /// Decodes and checks what [`Self::encode`] wrote, for a device with `vram_size` bytes of VRAM.
    pub fn decode(bytes: &[u8], vram_size: u32) -> Result<Self, &'static str> {
        require(bytes.len() == Self::LEN, "another length than a device's")?;
        let mut from = Reader(bytes);
        require(from.u32() == vram_size, "VRAM of another size")?;
        let enabled = flag(from.u8())?;
        let halted = flag(from.u8())?;
        let display_enabled = flag(from.u8())?;
        let has_job = flag(from.u8())?;
        let state = State {
            vram_size,
            interrupt: from.u32(),
            interrupt_enable: from.u32(),
            ring: Ring {
                base: from.u64(),
                size: from.u32(),
                enabled,
                halted,
                head: from.u32(),
                tail: from.u32(),
            },
            error: failure(&mut from)?,
            failed: failure(&mut from)?,
            fence: from.u64(),
            display: Display {
                enabled: display_enabled,
                picture: Picture {
                    width: from.u32(),
                    height: from.u32(),
                    stride: from.u32(),
                },
            },
            job: job(&mut from, has_job, vram_size)?,
        };
        state.check()?;
        Ok(state)
    }

    /// Checks the conditions between fields.
    fn check(&self) -> Result<(), &'static str> {
        let interrupts = self.interrupt | self.interrupt_enable;
        require(interrupts & !interrupt::ALL == 0, "unknown interrupts")?;
        let ring = &self.ring;
        if ring.enabled {
            require(ring.check().is_ok(), "an enabled ring of bad geometry")?;
            let last = ring.head.max(ring.tail);
            require(last < ring.size, "an index beyond the ring")?;
        } else {
            let unused = ring.head == 0 && ring.tail == 0 && !ring.halted;
            require(unused, "progress in a ring that is not enabled")?;
            require(self.job.is_none(), "a command without a ring")?;
            require(self.failed.is_none(), "a failed command without a ring")?;
        }
        if let Some(failed) = self.failed {
            require(
                failed.error.is_of_a_command(),
                "a fence status that is no command's",
            )?;
            // This implies an enabled ring, which the command belongs to.
            require(failed.index < ring.size, "a failed command beyond the ring")?;
        }
        if self.display.enabled {
            let good = self.display.picture.check(self.vram_size).is_ok();
            require(good, "an enabled display of bad geometry")?;
        }
        Ok(())
    }
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
