// SPDX-License-Identifier: GPL-2.0

//! What a PCI function looks like on its bus: its ids, base address registers and capabilities.

use super::BARS;
use crate::region;

/// What a base address register decodes.
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
    /// Size in bytes of what the register decodes; 0 for [`Bar::None`].
    #[inline]
    pub const fn size(self) -> u64 {
        match self {
            Bar::None => 0,
            Bar::Io { size } | Bar::Memory32 { size, .. } => size as u64,
            Bar::Memory64 { size, .. } => size,
        }
    }

    /// The widest access in bytes that one bus transaction carries.
    #[inline]
    pub const fn widest_access(self) -> usize {
        match self {
            Bar::None | Bar::Io { .. } => 4,
            Bar::Memory32 { .. } | Bar::Memory64 { .. } => 8,
        }
    }

    /// Type bits and writable address bits of the register pair.
    pub(super) const fn register(self) -> (u64, u64) {
        match self {
            Bar::None => (0, 0),
            Bar::Io { size } => (0x1, !(size as u64 - 1) & 0xffff_fffc),
            Bar::Memory32 { size, prefetchable } => (
                if prefetchable { 0x8 } else { 0 },
                !(size as u64 - 1) & 0xffff_fff0,
            ),
            Bar::Memory64 { size, prefetchable } => {
                (if prefetchable { 0xc } else { 0x4 }, !(size - 1) & !0xf)
            }
        }
    }

    const fn is_valid(self) -> bool {
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

/// Where an MSI-X capability of one vector has its table and its pending bits.
///
/// User space emulates both, so nothing has to be behind them but a BAR of that size.
///
/// # Examples
///
/// [`Identity`] has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Index of the BAR that both are in.
    pub bar: u8,
    /// Offset in bytes of the table, a multiple of 8; it has 16 bytes.
    pub table: u32,
    /// Offset in bytes of the pending bits, a multiple of 8; they have 8 bytes.
    pub pending: u32,
}

impl Msix {
    fn is_valid(&self, bars: &[Bar; BARS]) -> bool {
        let size = bars.get(usize::from(self.bar)).map_or(0, |bar| bar.size());
        let (table, pending) = (u64::from(self.table), u64::from(self.pending));
        let fits = |offset: u64, len: u64| offset % 8 == 0 && offset + len <= size;
        let apart = pending >= table + 16 || table >= pending + 8;
        fits(table, 16) && fits(pending, 8) && apart
    }
}

/// The read-only face of a function: what a guest's driver binds to.
///
/// # Examples
///
/// ```
/// use mdev_model::config::{Bar, Identity, Msix, BARS};
///
/// let mut bars = [Bar::None; BARS];
/// bars[0] = Bar::Memory32 {
///     size: 4096,
///     prefetchable: false,
/// };
/// let card = Identity {
///     vendor: 0x1234,
///     device: 0x0001,
///     subsystem_vendor: 0x1234,
///     subsystem: 0x0001,
///     // A display controller, as `PCI_CLASS_DISPLAY_OTHER` has it.
///     class: 0x03_80_00,
///     revision: 1,
///     intx: true,
///     msi: true,
///     msix: Some(Msix {
///         bar: 0,
///         table: 0x800,
///         pending: 0x810,
///     }),
///     bars,
/// };
/// assert!(card.is_valid());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Subsystem vendor id.
    pub subsystem_vendor: u16,
    /// Subsystem id.
    pub subsystem: u16,
    /// Class code: base class, sub-class and programming interface, as `0xBBSSPP`.
    pub class: u32,
    /// Revision id.
    pub revision: u8,
    /// Whether the function has an interrupt pin (INTA#).
    pub intx: bool,
    /// Whether the function has an MSI capability of one vector.
    pub msi: bool,
    /// Where the function has the table of an MSI-X capability of one vector, if it has one.
    pub msix: Option<Msix>,
    /// What the base address registers decode.
    pub bars: [Bar; BARS],
}

impl Identity {
    /// Whether the class code has 24 bits, every BAR has a size that the specification allows and
    /// room for its upper half, and the MSI-X table is inside of one.
    pub fn is_valid(&self) -> bool {
        let table_fits = self.msix.is_none_or(|msix| msix.is_valid(&self.bars));
        let bars_fit = self.bars.iter().enumerate().all(|(i, bar)| {
            bar.is_valid()
                && (!matches!(bar, Bar::Memory64 { .. })
                    || self.bars.get(i + 1) == Some(&Bar::None))
        });
        self.class < 1 << 24 && table_fits && bars_fit
    }
}
