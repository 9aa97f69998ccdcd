// SPDX-License-Identifier: GPL-2.0

//! PCI configuration space of a conventional device: 256 bytes and which bits of them can be
//! written.
//!
//! Source: PCI Local Bus Specification 3.0, chapter 6; names and offsets as in
//! `include/uapi/linux/pci_regs.h`. BAR sizing needs no code of its own: the address bits below the
//! size of a BAR cannot be written and read as zero.

mod identity;

pub use identity::{Bar, Identity, Msix};

/// Size in bytes of the configuration space.
pub const SIZE: usize = 256;

/// Number of base address registers of a type 0 header.
pub const BARS: usize = 6;

// Registers and their bits, by the names of `include/uapi/linux/pci_regs.h`.
const VENDOR_ID: usize = 0x00;
const DEVICE_ID: usize = 0x02;
const COMMAND: usize = 0x04;
/// In the upper byte.
const COMMAND_INTX_DISABLE: u8 = 0x04;
const STATUS: usize = 0x06;
/// In the lower byte, and the line's level.
const STATUS_INTERRUPT: u8 = 0x08;
const CLASS_REVISION: usize = 0x08;
const BASE_ADDRESS_0: usize = 0x10;
const SUBSYSTEM_VENDOR_ID: usize = 0x2c;
const SUBSYSTEM_ID: usize = 0x2e;
const CAPABILITY_LIST: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;

/// I/O space, memory space, bus master, parity, SERR#, INTx disable.
const COMMAND_WRITABLE: u16 = 0x0547;
const STATUS_CAP_LIST: u16 = 0x0010;
/// DEVSEL timing: medium.
const STATUS_DEVSEL_MEDIUM: u16 = 0x0200;

const MSI_AT: usize = 0x40;
const MSI_ID: u8 = 0x05;
/// Length of an MSI capability with a 64-bit address and no per-vector masking.
const MSI_LEN: usize = 14;

const MSIX_AT: usize = 0x50;
const MSIX_ID: u8 = 0x11;

/// The configuration space of one open device.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    /// Set bits can be written.
    writable: [u8; SIZE],
}

/// A saved configuration space differs in a bit that cannot be written: it is another device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherDevice;

impl ConfigSpace {
    /// The configuration space of `identity` after a reset.
    pub fn new(identity: &Identity) -> Self {
        let mut new = ConfigSpace {
            bytes: [0; SIZE],
            writable: [0; SIZE],
        };
        new.put(VENDOR_ID, &identity.vendor.to_le_bytes());
        new.put(DEVICE_ID, &identity.device.to_le_bytes());
        new.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        new.put(STATUS, &STATUS_DEVSEL_MEDIUM.to_le_bytes());
        new.put(
            CLASS_REVISION,
            &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes(),
        );
        for (i, bar) in identity.bars.iter().enumerate() {
            let (bits, writable) = bar.register();
            let at = BASE_ADDRESS_0 + 4 * i;
            // A 64-bit BAR continues in the next register, the others leave that one alone.
            let len = if matches!(bar, Bar::Memory64 { .. }) {
                8
            } else {
                4
            };
            if *bar != Bar::None {
                new.put(at, &bits.to_le_bytes()[..len]);
                new.allow(at, &writable.to_le_bytes()[..len]);
            }
        }
        new.put(
            SUBSYSTEM_VENDOR_ID,
            &identity.subsystem_vendor.to_le_bytes(),
        );
        new.put(SUBSYSTEM_ID, &identity.subsystem.to_le_bytes());
        new.allow(INTERRUPT_LINE, &[0xff]);
        new.put(INTERRUPT_PIN, &[u8::from(identity.intx)]);
        // The next capability is linked to here.
        let mut link = CAPABILITY_LIST;
        if identity.msi {
            link = new.add_capability(link, MSI_AT, MSI_ID);
            new.fill_msi();
        }
        if let Some(msix) = &identity.msix {
            link = new.add_capability(link, MSIX_AT, MSIX_ID);
            new.fill_msix(msix);
        }
        if link != CAPABILITY_LIST {
            let status = STATUS_DEVSEL_MEDIUM | STATUS_CAP_LIST;
            new.put(STATUS, &status.to_le_bytes());
        }
        new
    }

    /// Begins capability `id` at `at` and links it to `link`; says where the next one is linked.
    fn add_capability(&mut self, link: usize, at: usize, id: u8) -> usize {
        self.put(link, &[at as u8]);
        self.put(at, &[id]);
        at + 1
    }

    fn fill_msi(&mut self) {
        // Message control: one vector, 64-bit address; its enable bit can be written.
        self.put(MSI_AT + 2, &[0x80, 0]);
        self.allow(MSI_AT + 2, &[0x01, 0]);
        // Address (dword aligned), upper address, data.
        let mut writable = [0xff; MSI_LEN - 4];
        writable[0] = 0xfc;
        self.allow(MSI_AT + 4, &writable);
    }

    fn fill_msix(&mut self, msix: &Msix) {
        // Message control: a table of one; enable and function mask can be written.
        self.allow(MSIX_AT + 2, &[0, 0xc0]);
        let bar = u32::from(msix.bar);
        self.put(MSIX_AT + 4, &(msix.table | bar).to_le_bytes());
        self.put(MSIX_AT + 8, &(msix.pending | bar).to_le_bytes());
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Copies the bytes from `offset` on into `data`; `false` if they reach beyond the space.
    /// Interrupt Status is `asserted`, the level of the line, of a function that has one.
    #[must_use]
    pub fn read(&self, offset: u64, data: &mut [u8], asserted: bool) -> bool {
        let Some(range) = Self::range(offset, data.len()) else {
            return false;
        };
        data.copy_from_slice(&self.bytes[range.clone()]);
        if asserted && self.bytes[INTERRUPT_PIN] != 0 && range.contains(&STATUS) {
            data[STATUS - range.start] |= STATUS_INTERRUPT;
        }
        true
    }

    /// Returns whether Interrupt Disable is set: the function must not assert INTx.
    pub fn disables_intx(&self) -> bool {
        self.bytes[COMMAND + 1] & COMMAND_INTX_DISABLE != 0
    }

    /// Writes the writable bits of `data` at `offset`; `false` if it reaches beyond the space, and
    /// then nothing is written.
    #[must_use]
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        let Some(range) = Self::range(offset, data.len()) else {
            return false;
        };
        for (i, new) in range.zip(data) {
            self.bytes[i] = self.bytes[i] & !self.writable[i] | new & self.writable[i];
        }
        true
    }

    fn range(offset: u64, len: usize) -> Option<core::ops::Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(len)?;
        (end <= SIZE).then_some(start..end)
    }

    /// Every byte, as saved in a migration stream.
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.bytes
    }

    /// Whether `saved` came from a device with the same read-only bits.
    pub fn check(&self, saved: &[u8; SIZE]) -> Result<(), OtherDevice> {
        let same = (0..SIZE).all(|i| (self.bytes[i] ^ saved[i]) & !self.writable[i] == 0);
        same.then_some(()).ok_or(OtherDevice)
    }

    /// Takes over the writable bits of `saved`.
    pub fn restore(&mut self, saved: &[u8; SIZE]) {
        // In bounds by type.
        let _ = self.write(0, saved);
    }
}
