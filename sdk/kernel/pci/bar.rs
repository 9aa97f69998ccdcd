// SPDX-License-Identifier: GPL-2.0

//! Registers of a parent: a BAR of a PCI function.

use crate::{
    base::compat::DevresBar,
    memory::{IoMemory, Registers},
};
use core::ops::Range;
use kernel::{
    device::{Bound, Device},
    io::Io,
    pci::{self, Bar},
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// The registers in a memory BAR of the parent.
///
/// The mapping ends when the function is unbound from its driver, after its mdevs are gone.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::ParentBar;
/// /// Acknowledges all events of a card, and returns them.
/// fn acknowledge(bar: &ParentBar) -> Result<u32> {
///     let events = bar.read32(0x24)?;
///     bar.write32(0x64, events)?;
///     Ok(events)
/// }
/// ```
pub struct ParentBar {
    bar: Arc<DevresBar>,
    device: ARef<Device>,
    /// Its physical addresses.
    place: Range<u64>,
}

impl ParentBar {
    /// Takes over `bar`, which has number `index` of the `function`.
    pub(super) fn new(function: &pci::Device<Bound>, index: u32, bar: Bar<'_>) -> Result<Self> {
        let (start, len) = (
            function.resource_start(index)?,
            function.resource_len(index)?,
        );
        let device: &Device<Bound> = function.as_ref();
        let device: &Device = device;
        Ok(ParentBar {
            bar: Arc::new(bar.into_devres()?, GFP_KERNEL)?,
            device: device.into(),
            place: start..start + len,
        })
    }

    /// Reads the 32-bit register at `offset`, which hardware that is gone answers with ones.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    pub fn read32(&self, offset: usize) -> Result<u32> {
        self.bar.try_access().ok_or(ENODEV)?.try_read32(offset)
    }

    /// Writes the 32-bit register at `offset`.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    pub fn write32(&self, offset: usize, value: u32) -> Result {
        let bar = self.bar.try_access().ok_or(ENODEV)?;
        bar.try_write32(value, offset)
    }

    /// Writes the 64-bit register at `offset`, in one access.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    #[cfg(CONFIG_64BIT)]
    pub fn write64(&self, offset: usize, value: u64) -> Result {
        let bar = self.bar.try_access().ok_or(ENODEV)?;
        bar.try_write64(value, offset)
    }

    /// Returns whole pages of the BAR that a guest may access itself, as a part of a BAR of its
    /// mdev: [`Parts::io_memory`](crate::Parts::io_memory).
    ///
    /// # Errors
    ///
    /// EINVAL if `bytes` are no pages of the BAR; ENOMEM.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{prelude::*, sync::Arc};
    /// # use mdev_sdk::{IoMemory, ParentBar};
    /// /// Returns the page of doorbells that a card has for its mdev number `slot`.
    /// fn doorbells(bar: &ParentBar, slot: usize) -> Result<Arc<IoMemory>> {
    ///     let start = 0x10000 + slot * 0x1000;
    ///     bar.io_memory(start..start + 0x1000)
    /// }
    /// ```
    pub fn io_memory(&self, bytes: Range<usize>) -> Result<Arc<IoMemory>> {
        let size = self.place.end - self.place.start;
        if bytes.start > bytes.end || bytes.end as u64 > size {
            return Err(EINVAL);
        }
        let registers = Pages {
            bar: self.bar.clone(),
            first: bytes.start,
            len: bytes.len(),
        };
        let start = self.place.start + bytes.start as u64;
        // SAFETY: The bytes are within the function's BAR, and are those of `registers`, which end
        // with the binding in which this was made.
        unsafe { IoMemory::new(&self.device, start, bytes.len(), registers) }
    }
}

/// Some bytes of a BAR.
struct Pages {
    bar: Arc<DevresBar>,
    first: usize,
    len: usize,
}

impl Pages {
    /// Returns the offset in the BAR of an access to `len` bytes at `offset`.
    fn place(&self, offset: usize, len: usize) -> Result<usize> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.first + offset),
            _ => Err(EINVAL),
        }
    }
}

impl Registers for Pages {
    fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        let at = self.place(offset, data.len())?;
        let bar = self.bar.try_access().ok_or(ENODEV)?;
        match data.len() {
            1 => data.copy_from_slice(&bar.try_read8(at)?.to_le_bytes()),
            2 => data.copy_from_slice(&bar.try_read16(at)?.to_le_bytes()),
            4 => data.copy_from_slice(&bar.try_read32(at)?.to_le_bytes()),
            #[cfg(CONFIG_64BIT)]
            8 => data.copy_from_slice(&bar.try_read64(at)?.to_le_bytes()),
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn write(&self, offset: usize, data: &[u8]) -> Result {
        let at = self.place(offset, data.len())?;
        let bar = self.bar.try_access().ok_or(ENODEV)?;
        match *data {
            [byte] => bar.try_write8(byte, at),
            [a, b] => bar.try_write16(u16::from_le_bytes([a, b]), at),
            [a, b, c, d] => bar.try_write32(u32::from_le_bytes([a, b, c, d]), at),
            #[cfg(CONFIG_64BIT)]
            _ => bar.try_write64(u64::from_le_bytes(data.try_into().map_err(|_| EINVAL)?), at),
            #[cfg(not(CONFIG_64BIT))]
            _ => Err(EINVAL),
        }
    }

    fn is_bound(&self) -> bool {
        self.bar.try_access().is_some()
    }
}
