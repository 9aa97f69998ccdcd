// SPDX-License-Identifier: GPL-2.0

//! Registers of a parent: a BAR of a PCI function.

use crate::base::compat::DevresBar;
use kernel::{io::Io, pci::Bar, prelude::*};

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
pub struct ParentBar(DevresBar);

impl ParentBar {
    pub(super) fn new(bar: Bar<'_>) -> Result<Self> {
        Ok(ParentBar(bar.into_devres()?))
    }

    /// Reads the 32-bit register at `offset`, which hardware that is gone answers with ones.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    pub fn read32(&self, offset: usize) -> Result<u32> {
        self.0.try_access().ok_or(ENODEV)?.try_read32(offset)
    }

    /// Writes the 32-bit register at `offset`.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    pub fn write32(&self, offset: usize, value: u32) -> Result {
        self.0
            .try_access()
            .ok_or(ENODEV)?
            .try_write32(value, offset)
    }

    /// Writes the 64-bit register at `offset`, in one access.
    ///
    /// # Errors
    ///
    /// EINVAL if it is out of bounds or not aligned; ENODEV if the function is unbound.
    #[cfg(CONFIG_64BIT)]
    pub fn write64(&self, offset: usize, value: u64) -> Result {
        self.0
            .try_access()
            .ok_or(ENODEV)?
            .try_write64(value, offset)
    }
}
