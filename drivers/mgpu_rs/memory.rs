// SPDX-License-Identifier: GPL-2.0

//! The two memories that the device accesses, and addresses in them.

use mdev_model::record::require;

use crate::error::Error;

/// A failed access to guest memory: it is not mapped, or read-only, or was unmapped meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Guest memory, implemented by the glue. Ranges are not empty and do not wrap.
pub trait GuestMemory {
    /// Reads `data.len()` bytes at `iova`.
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `iova`. After a fault, any part of it may have been written.
    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), Fault>;
}

/// VRAM, implemented by the glue. Ranges are not empty and inside the size that was passed to
/// [`Registers::new`](crate::registers::Registers::new).
pub trait Vram {
    /// Reads `data.len()` bytes at `offset`.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Writes `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// The memory that an address belongs to.
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
    /// Checks that `len` bytes (at least 1) from here on exist, or returns [`Error::Range`]. Guest
    /// memory has all 64-bit addresses.
    pub(crate) fn check(self, len: u64, vram_size: u32) -> Result<(), Error> {
        let fits = match self.space {
            Space::Guest => self.at.checked_add(len - 1).is_some(),
            Space::Vram => self
                .at
                .checked_add(len)
                .is_some_and(|end| end <= u64::from(vram_size)),
        };
        require(fits, Error::Range)
    }

    /// Returns the place `len` bytes further on, which must be inside a checked range.
    pub(crate) fn plus(self, len: u64) -> Self {
        Place {
            at: self.at + len,
            ..self
        }
    }
}
