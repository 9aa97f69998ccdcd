// SPDX-License-Identifier: GPL-2.0

//! Base address registers: the resources of a PCI function.

use super::BARS;
use crate::region;

// Bits of a base address register.
const PCI_BASE_ADDRESS_SPACE_IO: u64 = 0x01;
const PCI_BASE_ADDRESS_MEM_TYPE_64: u64 = 0x04;
const PCI_BASE_ADDRESS_MEM_PREFETCH: u64 = 0x08;
const PCI_BASE_ADDRESS_MEM_MASK: u64 = !0x0f;
const PCI_BASE_ADDRESS_IO_MASK: u64 = !0x03;

/// The resource that a base address register decodes.
///
/// # Examples
///
/// ```
/// use mdev_model::config::Bar;
///
/// let ports = Bar::Io { size: 8 };
/// assert_eq!((ports.size(), ports.widest_access()), (8, 4));
/// let memory = Bar::Memory64 {
///     size: 16 << 20,
///     prefetchable: true,
/// };
/// assert_eq!((memory.size(), memory.widest_access()), (16 << 20, 8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// The register is not implemented and reads as zero.
    None,
    /// I/O ports; `size` is a power of two of 4 to 256 bytes.
    Io {
        /// Size in bytes.
        size: u32,
    },
    /// Memory below 4 GiB; `size` is a power of two of at least 16 bytes.
    Memory32 {
        /// Size in bytes.
        size: u32,
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// Memory anywhere; takes this register and the next, which must be [`Bar::None`].
    Memory64 {
        /// Size in bytes.
        size: u64,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

impl Bar {
    /// Returns the size in bytes of the resource; 0 for [`Bar::None`].
    #[inline]
    pub const fn size(self) -> u64 {
        match self {
            Bar::None => 0,
            Bar::Io { size } | Bar::Memory32 { size, .. } => size as u64,
            Bar::Memory64 { size, .. } => size,
        }
    }

    /// Returns the width in bytes of the widest single access.
    #[inline]
    pub const fn widest_access(self) -> usize {
        match self {
            Bar::None | Bar::Io { .. } => 4,
            Bar::Memory32 { .. } | Bar::Memory64 { .. } => 8,
        }
    }

    /// Returns memory below 4 GiB whose reads may have side effects, as registers are.
    pub const fn memory32(size: u32) -> Bar {
        Bar::Memory32 {
            size,
            prefetchable: false,
        }
    }

    /// Returns the BARs of a function that has this one, as BAR 0, and no other.
    pub const fn alone(self) -> [Bar; BARS] {
        let mut bars = [Bar::None; BARS];
        bars[0] = self;
        bars
    }

    /// Returns the type bits and the writable address bits of the register pair.
    pub(super) const fn register(self) -> (u64, u64) {
        const REGISTER: u64 = u32::MAX as u64;
        const fn prefetch(prefetchable: bool) -> u64 {
            if prefetchable {
                PCI_BASE_ADDRESS_MEM_PREFETCH
            } else {
                0
            }
        }
        match self {
            Bar::None => (0, 0),
            Bar::Io { size } => (
                PCI_BASE_ADDRESS_SPACE_IO,
                !(size as u64 - 1) & PCI_BASE_ADDRESS_IO_MASK & REGISTER,
            ),
            Bar::Memory32 { size, prefetchable } => (
                prefetch(prefetchable),
                !(size as u64 - 1) & PCI_BASE_ADDRESS_MEM_MASK & REGISTER,
            ),
            Bar::Memory64 { size, prefetchable } => (
                PCI_BASE_ADDRESS_MEM_TYPE_64 | prefetch(prefetchable),
                !(size - 1) & PCI_BASE_ADDRESS_MEM_MASK,
            ),
        }
    }

    /// Returns whether the size is allowed.
    pub(super) const fn is_valid(self) -> bool {
        match self {
            Bar::None => true,
            Bar::Io { size } => size.is_power_of_two() && size >= 4 && size <= 256,
            Bar::Memory32 { size, .. } => size.is_power_of_two() && size >= 16,
            Bar::Memory64 { size, .. } => {
                size.is_power_of_two() && size >= 16 && size < 1 << region::OFFSET_SHIFT
            }
        }
    }
}
