// SPDX-License-Identifier: GPL-2.0

//! The read-only part of a PCI function: its ids, base address registers and capabilities.

use super::{BARS, HEADER_SIZE, SIZE};
use crate::region;

// Bits of a base address register.
const PCI_BASE_ADDRESS_SPACE_IO: u64 = 0x01;
const PCI_BASE_ADDRESS_MEM_TYPE_64: u64 = 0x04;
const PCI_BASE_ADDRESS_MEM_PREFETCH: u64 = 0x08;
const PCI_BASE_ADDRESS_MEM_MASK: u64 = !0x0f;
const PCI_BASE_ADDRESS_IO_MASK: u64 = !0x03;

/// The most vectors of an MSI capability.
const MSI_VECTORS: u8 = 32;
/// The most vectors of an MSI-X capability.
const MSIX_VECTORS: u16 = 2048;

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

/// The vectors of an MSI-X capability, and the places of their table and pending bits.
///
/// User space emulates both, so all they need is room in a BAR.
///
/// # Examples
///
/// [`Identity`] has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Number of vectors, from 1 to 2,048.
    pub vectors: u16,
    /// Index of the BAR that table and pending bits are in.
    pub bar: u8,
    /// Offset of the table in the BAR, a multiple of 8; it has 16 bytes for each vector.
    pub table: u32,
    /// Offset of the pending bits in the BAR, a multiple of 8; they have 8 bytes for each 64
    /// vectors or fewer.
    pub pending: u32,
}

impl Msix {
    /// Returns whether table and pending bits are aligned, within a memory BAR, and do not overlap.
    fn is_valid(&self, bars: &[Bar; BARS]) -> bool {
        let size = match bars.get(usize::from(self.bar)) {
            Some(bar @ (Bar::Memory32 { .. } | Bar::Memory64 { .. })) => bar.size(),
            _ => 0,
        };
        let (table, pending) = (u64::from(self.table), u64::from(self.pending));
        let vectors = u64::from(self.vectors);
        let (table_len, pending_len) = (vectors * 16, vectors.div_ceil(64) * 8);
        let fits = |offset: u64, len: u64| offset % 8 == 0 && offset + len <= size;
        let apart = pending >= table + table_len || table >= pending + pending_len;
        fits(table, table_len) && fits(pending, pending_len) && apart
    }
}

/// The read-only part of a PCI function, to which a guest's driver binds.
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
///     msi: 1,
///     msix: Some(Msix {
///         vectors: 1,
///         bar: 0,
///         table: 0x800,
///         pending: 0x810,
///     }),
///     bars,
///     config_size: 256,
/// };
/// assert_eq!(card.check(), Ok(()));
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
    /// Number of vectors of the function's MSI capability, a power of two from 1 to 32; 0 if it has
    /// none.
    pub msi: u8,
    /// The MSI-X capability, if the function has one.
    pub msix: Option<Msix>,
    /// The resources that the base address registers decode.
    pub bars: [Bar; BARS],
    /// The size in bytes of configuration space, as user space sees it: 64 to 256.
    ///
    /// It is another one than 256 only for a device that mimics one with another; QEMU's own part
    /// of a stream depends on it.
    pub config_size: u16,
}

impl Identity {
    /// Returns a function with these ids, also as its subsystem's, with INTx and MSI, and without a
    /// class (`PCI_CLASS_OTHERS`), BARs and MSI-X.
    ///
    /// # Examples
    ///
    /// ```
    /// use mdev_model::config::{Bar, Identity};
    ///
    /// let card = Identity {
    ///     bars: Bar::memory32(4096).alone(),
    ///     ..Identity::new(0x1234, 0x0001)
    /// };
    /// assert_eq!(card.check(), Ok(()));
    /// ```
    pub const fn new(vendor: u16, device: u16) -> Self {
        Identity {
            vendor,
            device,
            subsystem_vendor: vendor,
            subsystem: device,
            class: 0xff_00_00,
            revision: 0,
            intx: true,
            msi: 1,
            msix: None,
            bars: [Bar::None; BARS],
            config_size: SIZE as u16,
        }
    }

    /// Returns the number of vectors that the function can drive: those of the kind of interrupt
    /// with the most.
    ///
    /// # Examples
    ///
    /// ```
    /// use mdev_model::config::Identity;
    ///
    /// let card = Identity {
    ///     msi: 4,
    ///     ..Identity::new(0x1234, 0x0001)
    /// };
    /// assert_eq!(card.vectors(), 4);
    /// ```
    pub const fn vectors(&self) -> usize {
        let mut most = self.intx as usize;
        if self.msi as usize > most {
            most = self.msi as usize;
        }
        match self.msix {
            Some(msix) if msix.vectors as usize > most => msix.vectors as usize,
            _ => most,
        }
    }

    /// Checks that a function can have the identity.
    ///
    /// # Errors
    ///
    /// The rule that it breaks, and the number of the BAR if the rule is about one.
    pub fn check(&self) -> Result<(), (&'static str, Option<usize>)> {
        if self.class >= 1 << 24 {
            return Err(("the class code must have 24 bits", None));
        }
        if !(HEADER_SIZE..=SIZE).contains(&usize::from(self.config_size)) {
            return Err(("configuration space must have 64 to 256 bytes", None));
        }
        for (i, bar) in self.bars.iter().enumerate() {
            if !bar.is_valid() {
                let rule = match bar {
                    Bar::Io { .. } => "ports must be a power of two of 4 to 256 bytes",
                    _ => "memory must be a power of two of at least 16 bytes, and not too large",
                };
                return Err((rule, Some(i)));
            }
            if matches!(bar, Bar::Memory64 { .. }) && self.bars.get(i + 1) != Some(&Bar::None) {
                return Err(("after a BAR with 64 bits, one must be free", Some(i)));
            }
        }
        if self.msi != 0 && !(self.msi.is_power_of_two() && self.msi <= MSI_VECTORS) {
            return Err((
                "MSI must have a power of two of 1 to 32 vectors, or none",
                None,
            ));
        }
        if self
            .msix
            .is_some_and(|msix| !(1..=MSIX_VECTORS).contains(&msix.vectors))
        {
            return Err(("MSI-X must have 1 to 2,048 vectors", None));
        }
        if self.msix.is_some_and(|msix| !msix.is_valid(&self.bars)) {
            let rule = "the MSI-X table and its pending bits must be in a BAR, aligned and apart";
            return Err((rule, None));
        }
        Ok(())
    }
}
