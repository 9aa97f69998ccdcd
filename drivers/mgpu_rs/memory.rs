// SPDX-License-Identifier: GPL-2.0

//! The two memories that the device works on, and places in them.

use crate::error::Error;

/// Guest memory refused an access: it is not there, or read-only, or was unmapped meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Guest memory, as the glue gives it. Ranges are not empty and do not wrap.
pub trait GuestMemory {
    /// Reads `data.len()` bytes at `iova`.
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `iova`. After a fault, any part of it may have been written.
    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Fault>;
}

/// VRAM, as the glue gives it. Ranges are not empty and inside of the size that
/// [`Registers::new`](crate::registers::Registers::new) was told.
pub trait Vram {
    /// Reads `data.len()` bytes at `offset`.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Writes `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// Which memory an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Guest,
    Vram,
}

/// An address in one of the memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) space: Space,
    pub(crate) at: u64,
}

impl Place {
    /// Whether `len` bytes (at least 1) from here on exist, guest memory being all of 64 bits.
    pub(crate) fn check(self, len: u64, vram_size: u32) -> Result<(), Error> {
        let fits = match self.space {
            Space::Guest => self.at.checked_add(len - 1).is_some(),
            Space::Vram => self
                .at
                .checked_add(len)
                .is_some_and(|end| end <= u64::from(vram_size)),
        };
        fits.then_some(()).ok_or(Error::Range)
    }

    /// The place `len` bytes on, which is inside of a checked range.
    pub(crate) fn plus(self, len: u64) -> Self {
        Place {
            at: self.at + len,
            ..self
        }
    }
}
