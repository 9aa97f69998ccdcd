// SPDX-License-Identifier: GPL-2.0

//! The read-only part of a PCI function: its ids, base address registers and capabilities.

use super::{Bar, Capability, BARS, EXPRESS_SIZE, HEADER_SIZE, MSIX_AT, MSIX_LEN, MSI_AT, SIZE};

/// The most vectors of an MSI capability.
const MSI_VECTORS: u8 = 32;
/// The most vectors of an MSI-X capability.
const MSIX_VECTORS: u16 = 2048;

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
///     needs_bus_master: true,
///     capabilities: &[],
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
    /// Whether guest memory refuses accesses unless the function is bus master:
    /// [`ConfigSpace::is_bus_master`](super::ConfigSpace::is_bus_master). It is for DMA of a driver
    /// that guests set up before they set Bus Master Enable.
    pub needs_bus_master: bool,
    /// The capabilities besides MSI and MSI-X, in the order of their lists; see
    /// [`capability_at`](Self::capability_at).
    pub capabilities: &'static [Capability],
    /// The size in bytes of configuration space, as user space sees it: 4,096 for an express
    /// device, which is one with [`Capability::Express`]; 64 to 256 for another one.
    ///
    /// It is another one than 256 there only for a device that mimics one with another; QEMU's own
    /// part of a stream depends on it.
    pub config_size: u16,
}

impl Identity {
    /// Returns a function with these ids, also as its subsystem's, with INTx and MSI, without a
    /// class (`PCI_CLASS_OTHERS`), BARs, MSI-X and other capabilities, whose DMA needs Bus Master
    /// Enable.
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
            needs_bus_master: true,
            capabilities: &[],
            config_size: SIZE as u16,
        }
    }

    /// Returns the size in bytes of the function's configuration space, as a stream carries it:
    /// 4,096 for an express device, 256 for another one.
    pub const fn space_size(&self) -> usize {
        let mut i = 0;
        while i < self.capabilities.len() {
            if matches!(self.capabilities[i], Capability::Express { .. }) {
                return EXPRESS_SIZE;
            }
            i += 1;
        }
        SIZE
    }

    /// Returns the offset in configuration space of the capability with this index in
    /// [`capabilities`](Self::capabilities); `None` if there is none.
    ///
    /// Conventional capabilities are in the first 256 bytes, one after the other behind MSI and
    /// MSI-X, each aligned to 4 bytes; extended ones from 0x100 on.
    ///
    /// # Examples
    ///
    /// ```
    /// use mdev_model::config::{Capability, Identity};
    ///
    /// let card = Identity {
    ///     capabilities: &[
    ///         Capability::Express { flr: true },
    ///         Capability::SerialNumber(1),
    ///         Capability::PowerManagement,
    ///     ],
    ///     config_size: 4096,
    ///     ..Identity::new(0x1234, 0x0001)
    /// };
    /// let places = [0, 1, 2, 3].map(|index| card.capability_at(index));
    /// assert_eq!(places, [Some(0x50), Some(0x100), Some(0x8c), None]);
    /// ```
    pub const fn capability_at(&self, index: usize) -> Option<usize> {
        if index >= self.capabilities.len() {
            return None;
        }
        let is_extended = self.capabilities[index].is_extended();
        let mut at = match (is_extended, &self.msix) {
            (true, _) => SIZE,
            (false, Some(_)) => MSIX_AT + MSIX_LEN,
            (false, None) if self.msi != 0 => MSIX_AT,
            (false, None) => MSI_AT,
        };
        let mut i = 0;
        while i < index {
            if self.capabilities[i].is_extended() == is_extended {
                at = (at + self.capabilities[i].length()).next_multiple_of(4);
            }
            i += 1;
        }
        Some(at)
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
        self.check_capabilities().map_err(|rule| (rule, None))?;
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

    /// Checks the capabilities and the size of configuration space.
    ///
    /// # Errors
    ///
    /// The rule that they break.
    fn check_capabilities(&self) -> Result<(), &'static str> {
        let size = usize::from(self.config_size);
        let is_express = self.space_size() == EXPRESS_SIZE;
        if is_express && size != EXPRESS_SIZE {
            return Err("configuration space of an express device must have 4,096 bytes");
        }
        if !is_express && !(HEADER_SIZE..=SIZE).contains(&size) {
            return Err("configuration space must have 64 to 256 bytes");
        }
        for (i, capability) in self.capabilities.iter().enumerate() {
            capability.check()?;
            if capability.is_extended() && !is_express {
                return Err("only an express device can have extended capabilities");
            }
            let mut before = self.capabilities[..i].iter();
            if !capability.may_repeat() && before.any(|other| other.is_same_kind(capability)) {
                return Err("a capability of this kind must not be there twice");
            }
            let end = self.capability_at(i).map(|at| at + capability.length());
            let most = if capability.is_extended() {
                size
            } else {
                size.min(SIZE)
            };
            if end.is_none_or(|end| end > most) {
                return Err("the capabilities must fit in configuration space");
            }
        }
        Ok(())
    }
}
