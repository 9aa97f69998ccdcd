// SPDX-License-Identifier: GPL-2.0

//! PCI configuration space: 256 bytes, or 4 KiB of an express device, and a mask of the writable
//! bits.
//!
//! Source: PCI Local Bus Specification 3.0, chapter 6; names and offsets are those of
//! [`include/uapi/linux/pci_regs.h`](srctree/include/uapi/linux/pci_regs.h). BAR sizing needs no
//! code of its own: the address bits below the size of a BAR are read-only and zero.

mod bar;
mod capability;
mod identity;
mod part;

pub use bar::Bar;
pub use capability::Capability;
pub use identity::{Identity, Msix};
pub use part::Part;

use crate::stream::Crc32c;
use capability::{Id, INITIATE_FLR};
use core::ops::DerefMut;

/// Size in bytes of the configuration space of a conventional device.
pub const SIZE: usize = 256;

/// Size in bytes of the configuration space of an express device.
pub const EXPRESS_SIZE: usize = 4096;

/// Size in bytes of its header.
const HEADER_SIZE: usize = 64;

/// Number of base address registers of a type 0 header.
pub const BARS: usize = 6;

// Registers and their bits.
const PCI_VENDOR_ID: usize = 0x00;
const PCI_DEVICE_ID: usize = 0x02;
const PCI_COMMAND: usize = 0x04;
const PCI_COMMAND_IO: u16 = 0x001;
const PCI_COMMAND_MEMORY: u16 = 0x002;
const PCI_COMMAND_MASTER: u16 = 0x004;
const PCI_COMMAND_PARITY: u16 = 0x040;
const PCI_COMMAND_SERR: u16 = 0x100;
const PCI_COMMAND_INTX_DISABLE: u16 = 0x400;
const PCI_STATUS: usize = 0x06;
/// In the lower byte.
const PCI_STATUS_INTERRUPT: u8 = 0x08;
const PCI_STATUS_CAP_LIST: u16 = 0x010;
const PCI_STATUS_DEVSEL_MEDIUM: u16 = 0x200;
const PCI_CLASS_REVISION: usize = 0x08;
const PCI_BASE_ADDRESS_0: usize = 0x10;
const PCI_SUBSYSTEM_VENDOR_ID: usize = 0x2c;
const PCI_SUBSYSTEM_ID: usize = 0x2e;
const PCI_CAPABILITY_LIST: usize = 0x34;
const PCI_INTERRUPT_LINE: usize = 0x3c;
const PCI_INTERRUPT_PIN: usize = 0x3d;

const PCI_CAP_LIST_NEXT: usize = 1;
const PCI_CAP_ID_MSI: u8 = 0x05;
const PCI_CAP_ID_MSIX: u8 = 0x11;

const PCI_MSI_FLAGS: usize = 0x02;
const PCI_MSI_FLAGS_ENABLE: u16 = 0x0001;
/// The logarithm of the number of vectors.
const PCI_MSI_FLAGS_QMASK: u16 = 0x000e;
const PCI_MSI_FLAGS_QSIZE: u16 = 0x0070;
const PCI_MSI_FLAGS_64BIT: u16 = 0x0080;
const PCI_MSI_ADDRESS_LO: usize = 0x04;

const PCI_MSIX_FLAGS: usize = 2;
const PCI_MSIX_FLAGS_QSIZE: u16 = 0x07ff;
const PCI_MSIX_FLAGS_MASKALL: u16 = 0x4000;
const PCI_MSIX_FLAGS_ENABLE: u16 = 0x8000;
const PCI_MSIX_TABLE: usize = 4;
const PCI_MSIX_PBA: usize = 8;

/// The writable bits of the command register.
const COMMAND_WRITABLE: u16 = PCI_COMMAND_IO
    | PCI_COMMAND_MEMORY
    | PCI_COMMAND_MASTER
    | PCI_COMMAND_PARITY
    | PCI_COMMAND_SERR
    | PCI_COMMAND_INTX_DISABLE;

/// Offset of the MSI capability.
const MSI_AT: usize = 0x40;
/// Length in bytes of an MSI capability with a 64-bit address and no per-vector masking.
const MSI_LEN: usize = 14;
/// Offset of the MSI-X capability.
const MSIX_AT: usize = 0x50;
/// Length in bytes of an MSI-X capability.
const MSIX_LEN: usize = 12;

/// The power state of a function that can be used, in [`POWER_STATE`].
const D0: u8 = 0;
/// The power state of a function that is asleep, and keeps its registers.
const D3HOT: u8 = 3;
/// The bits of the power state.
const POWER_STATE: u8 = 3;

/// Number of bytes of which [`ConfigSpace::identity_checksum`] computes a part.
const PIECE: usize = 64;

/// The configuration space of one open device, in buffers `B` that its owner allocates.
#[derive(Clone, Debug)]
pub struct ConfigSpace<B> {
    bytes: B,
    /// The mask of the writable bits.
    writable: B,
    /// Offset of the byte that has the power state, if the function has one.
    power_state: Option<usize>,
    /// Offset of the byte with the bit that resets the function, if it has one.
    reset_byte: Option<usize>,
}

/// The error for a saved configuration space that differs in a read-only bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherDevice;

impl<B: DerefMut<Target = [u8]>> ConfigSpace<B> {
    /// Creates the configuration space of `identity`, as after a reset, in buffers of
    /// [`space_size`](Identity::space_size) bytes that `allocate` returns for this length.
    ///
    /// What of an identity does not fit, which [`Identity::check`] refuses, is left out.
    ///
    /// # Errors
    ///
    /// Those of `allocate`.
    pub fn new<E>(
        identity: &Identity,
        mut allocate: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<Self, E> {
        let size = identity.space_size();
        let mut new = ConfigSpace {
            bytes: allocate(size)?,
            writable: allocate(size)?,
            power_state: None,
            reset_byte: None,
        };
        new.reset(identity);
        Ok(new)
    }

    /// Resets the configuration space, which is that of `identity`.
    pub fn reset(&mut self, identity: &Identity) {
        self.bytes.fill(0);
        self.writable.fill(0);
        self.put(PCI_VENDOR_ID, &identity.vendor.to_le_bytes());
        self.put(PCI_DEVICE_ID, &identity.device.to_le_bytes());
        self.allow(PCI_COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        self.put(
            PCI_CLASS_REVISION,
            &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes(),
        );
        for (i, bar) in identity.bars.iter().enumerate() {
            let (bits, writable) = bar.register();
            let at = PCI_BASE_ADDRESS_0 + 4 * i;
            // A 64-bit BAR continues in the next register, the others leave that one alone.
            let len = if matches!(bar, Bar::Memory64 { .. }) {
                8
            } else {
                4
            };
            if *bar != Bar::None {
                self.put(at, &bits.to_le_bytes()[..len]);
                self.allow(at, &writable.to_le_bytes()[..len]);
            }
        }
        self.put(
            PCI_SUBSYSTEM_VENDOR_ID,
            &identity.subsystem_vendor.to_le_bytes(),
        );
        self.put(PCI_SUBSYSTEM_ID, &identity.subsystem.to_le_bytes());
        self.allow(PCI_INTERRUPT_LINE, &[0xff]);
        self.put(PCI_INTERRUPT_PIN, &[u8::from(identity.intx)]);
        // The offset of the pointer to the next capability.
        let mut link = PCI_CAPABILITY_LIST;
        if identity.msi != 0 {
            link = self.add_capability(link, MSI_AT, PCI_CAP_ID_MSI);
            self.fill_msi(identity.msi);
        }
        if let Some(msix) = &identity.msix {
            link = self.add_capability(link, MSIX_AT, PCI_CAP_ID_MSIX);
            self.fill_msix(msix);
        }
        link = self.add_capabilities(link, identity);
        // An express device has no DEVSEL#.
        let mut status = match identity.space_size() {
            SIZE => PCI_STATUS_DEVSEL_MEDIUM,
            _ => 0,
        };
        if link != PCI_CAPABILITY_LIST {
            status |= PCI_STATUS_CAP_LIST;
        }
        self.put(PCI_STATUS, &status.to_le_bytes());
    }

    /// Adds the capabilities that `identity` lists, the conventional ones linked from `link`, and
    /// returns the next `link`.
    fn add_capabilities(&mut self, mut link: usize, identity: &Identity) -> usize {
        // The upper half of the last extended header, without a link, and its offset.
        let mut last: Option<(u16, usize)> = None;
        for (i, capability) in identity.capabilities.iter().enumerate() {
            let Some(at) = identity.capability_at(i) else {
                continue;
            };
            match capability.id() {
                Id::Conventional(id) => link = self.add_capability(link, at, id),
                Id::Extended(id, version) => {
                    if let Some((version, from)) = last {
                        self.put(from, &(version | (at as u16) << 4).to_le_bytes());
                    }
                    self.put(at, &id.to_le_bytes());
                    self.put(at + 2, &u16::from(version).to_le_bytes());
                    last = Some((version.into(), at + 2));
                }
            }
            capability.registers(|offset, value, mask| {
                self.put(at + offset, value);
                self.allow(at + offset, mask);
            });
            let place = |offset: Option<usize>| offset.map(|offset| at + offset);
            self.power_state = self.power_state.or(place(capability.power_state()));
            self.reset_byte = self.reset_byte.or(place(capability.reset_byte()));
        }
        link
    }

    /// Adds capability `id` at `at`, links it from `link`, and returns the next `link`.
    fn add_capability(&mut self, link: usize, at: usize, id: u8) -> usize {
        self.put(link, &[at as u8]);
        self.put(at, &[id]);
        at + PCI_CAP_LIST_NEXT
    }

    fn fill_msi(&mut self, vectors: u8) {
        // A 64-bit address. The enable bit is writable, and so is the number of vectors that the
        // guest uses if there are several.
        let capable = (vectors.trailing_zeros() << PCI_MSI_FLAGS_QMASK.trailing_zeros()) as u16;
        let flags = PCI_MSI_FLAGS_64BIT | capable;
        let writable = match vectors {
            1 => PCI_MSI_FLAGS_ENABLE,
            _ => PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE,
        };
        self.put(MSI_AT + PCI_MSI_FLAGS, &flags.to_le_bytes());
        self.allow(MSI_AT + PCI_MSI_FLAGS, &writable.to_le_bytes());
        // Address (dword aligned), upper address, data.
        let mut writable = [0xff; MSI_LEN - PCI_MSI_ADDRESS_LO];
        writable[0] = 0xfc;
        self.allow(MSI_AT + PCI_MSI_ADDRESS_LO, &writable);
    }

    fn fill_msix(&mut self, msix: &Msix) {
        // The size of the table, as its last index; the enable and function mask bits are writable.
        let flags = msix.vectors.wrapping_sub(1) & PCI_MSIX_FLAGS_QSIZE;
        let writable = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
        self.put(MSIX_AT + PCI_MSIX_FLAGS, &flags.to_le_bytes());
        self.allow(MSIX_AT + PCI_MSIX_FLAGS, &writable.to_le_bytes());
        let bar = u32::from(msix.bar);
        self.put(MSIX_AT + PCI_MSIX_TABLE, &(msix.table | bar).to_le_bytes());
        self.put(MSIX_AT + PCI_MSIX_PBA, &(msix.pending | bar).to_le_bytes());
    }

    /// Sets the bytes at `at`, if they fit.
    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(at..at + value.len()) {
            bytes.copy_from_slice(value);
        }
    }

    /// Sets the mask of the writable bits at `at`, if it fits.
    fn allow(&mut self, at: usize, mask: &[u8]) {
        if let Some(writable) = self.writable.get_mut(at..at + mask.len()) {
            writable.copy_from_slice(mask);
        }
    }

    /// Copies the bytes at `offset` into `data`, and returns whether they are in bounds.
    ///
    /// `asserted` is the level of the line, which Interrupt Status shows if the function has a pin.
    #[must_use]
    pub fn read(&self, offset: u64, data: &mut [u8], asserted: bool) -> bool {
        let Some(range) = self.range(offset, data.len()) else {
            return false;
        };
        data.copy_from_slice(&self.bytes[range.clone()]);
        if asserted && self.bytes[PCI_INTERRUPT_PIN] != 0 && range.contains(&PCI_STATUS) {
            data[PCI_STATUS - range.start] |= PCI_STATUS_INTERRUPT;
        }
        true
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[PCI_COMMAND], self.bytes[PCI_COMMAND + 1]])
    }

    /// Returns whether Interrupt Disable is set, so that the function must not assert INTx.
    pub fn disables_intx(&self) -> bool {
        self.command() & PCI_COMMAND_INTX_DISABLE != 0
    }

    /// Returns whether the function may access memory: Bus Master Enable is set, in D0.
    pub fn is_bus_master(&self) -> bool {
        self.command() & PCI_COMMAND_MASTER != 0 && self.power_state() == D0
    }

    /// Returns the bits of the power state; D0 for a function without Power Management.
    fn power_state(&self) -> u8 {
        self.power_state
            .map_or(D0, |at| self.bytes[at] & POWER_STATE)
    }

    /// Returns whether a write of `data` at `offset` initiates a function-level reset, which is up
    /// to the caller. The bit itself is not writable: it reads as zero.
    pub fn initiates_reset(&self, offset: u64, data: &[u8]) -> bool {
        let written = self.reset_byte.and_then(|at| {
            let index = (at as u64).checked_sub(offset)?;
            data.get(usize::try_from(index).ok()?)
        });
        written.is_some_and(|byte| byte & INITIATE_FLR != 0)
    }

    /// Writes the writable bits of `data` at `offset`, and returns whether it is in bounds; if not,
    /// nothing is written.
    ///
    /// A power state that the function lacks, D1 or D2, leaves the state as it is.
    #[must_use]
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        let Some(range) = self.range(offset, data.len()) else {
            return false;
        };
        let state = self.power_state();
        for (i, new) in range.zip(data) {
            self.bytes[i] = self.bytes[i] & !self.writable[i] | new & self.writable[i];
        }
        if let (Some(at), false) = (self.power_state, matches!(self.power_state(), D0 | D3HOT)) {
            self.bytes[at] = self.bytes[at] & !POWER_STATE | state;
        }
        true
    }

    fn range(&self, offset: u64, len: usize) -> Option<core::ops::Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Returns the CRC-32C of all bytes, with the writable bits as zero: it is equal for two
    /// devices of which each can load what the other saves.
    pub fn identity_checksum(&self, crc32c: Crc32c) -> u32 {
        let pieces = self.bytes.chunks(PIECE).zip(self.writable.chunks(PIECE));
        let crc = pieces.fold(!0, |crc, (bytes, writable)| {
            let mut fixed = [0; PIECE];
            for (fixed, (byte, mask)) in fixed.iter_mut().zip(bytes.iter().zip(writable)) {
                *fixed = byte & !mask;
            }
            crc32c(crc, &fixed[..bytes.len()])
        });
        !crc
    }

    /// Returns all bytes, as a migration stream carries them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that `saved` has the same size and the same read-only bits.
    ///
    /// # Errors
    ///
    /// [`OtherDevice`] if it does not.
    pub fn check(&self, saved: &[u8]) -> Result<(), OtherDevice> {
        let mut fixed = self.bytes.iter().zip(saved).zip(self.writable.iter());
        let same = saved.len() == self.bytes.len()
            && fixed.all(|((own, saved), writable)| (own ^ saved) & !writable == 0);
        crate::record::require(same, OtherDevice)
    }

    /// Restores the writable bits from `saved`, which has the same size.
    pub fn restore(&mut self, saved: &[u8]) {
        // All of the space is in bounds.
        let _ = self.write(0, saved);
    }
}
