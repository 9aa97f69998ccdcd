// SPDX-License-Identifier: GPL-2.0

//! The capabilities that a driver lists: their registers, values after a reset, and writable bits.
//!
//! Sources: PCI Bus Power Management Interface Specification 1.2, chapter 3; PCI Express Base
//! Specification 6.0, chapter 7; names and offsets are those of
//! [`include/uapi/linux/pci_regs.h`](srctree/include/uapi/linux/pci_regs.h).

const PCI_CAP_ID_PM: u8 = 0x01;
const PCI_CAP_ID_VNDR: u8 = 0x09;
const PCI_CAP_ID_EXP: u8 = 0x10;
const PCI_EXT_CAP_ID_DSN: u16 = 0x03;
const PCI_EXT_CAP_ID_VNDR: u16 = 0x0b;
const PCI_EXT_CAP_ID_DVSEC: u16 = 0x23;
const PCI_EXT_CAP_ID_DOE: u16 = 0x2e;

const PCI_PM_PMC: usize = 2;
/// Version 3 of the capability: D0 and D3hot, and no PME#.
const PMC: u16 = 0x0003;
const PCI_PM_CTRL: usize = 4;
const PCI_PM_CTRL_STATE_MASK: u16 = 0x0003;
const PCI_PM_CTRL_NO_SOFT_RESET: u16 = 0x0008;
const PCI_PM_SIZEOF: usize = 8;

const PCI_EXP_FLAGS: usize = 0x02;
/// Version 2 of the capability, of an endpoint.
const EXP_FLAGS: u16 = 0x0002;
const PCI_EXP_DEVCAP: usize = 0x04;
const PCI_EXP_DEVCAP_RBER: u32 = 0x0000_8000;
const PCI_EXP_DEVCAP_FLR: u32 = 0x1000_0000;
const PCI_EXP_DEVCTL: usize = 0x08;
/// The four bits that enable the reports of errors.
const PCI_EXP_DEVCTL_ERRORS: u16 = 0x000f;
const PCI_EXP_DEVCTL_RELAX_EN: u16 = 0x0010;
const PCI_EXP_DEVCTL_NOSNOOP_EN: u16 = 0x0800;
const PCI_EXP_DEVCTL_READRQ: u16 = 0x7000;
const PCI_EXP_DEVCTL_READRQ_512B: u16 = 0x2000;
/// In the upper byte.
const PCI_EXP_DEVCTL_BCR_FLR: u8 = 0x80;
const PCI_EXP_LNKCAP: usize = 0x0c;
const PCI_EXP_LNKCAP_SLS_2_5GB: u32 = 0x0000_0001;
const PCI_EXP_LNKCAP_MLW_X1: u32 = 0x0000_0010;
/// ASPM Optionality Compliance, which each function must set.
const LNKCAP_ASPM_OPTIONALITY: u32 = 0x0040_0000;
const PCI_EXP_LNKCTL: usize = 0x10;
const PCI_EXP_LNKCTL_ASPMC: u16 = 0x0003;
const PCI_EXP_LNKCTL_RCB: u16 = 0x0008;
const PCI_EXP_LNKCTL_CCC: u16 = 0x0040;
const PCI_EXP_LNKCTL_ES: u16 = 0x0080;
const PCI_EXP_LNKSTA: usize = 0x12;
const PCI_EXP_LNKSTA_CLS_2_5GB: u16 = 0x0001;
const PCI_EXP_LNKSTA_NLW_X1: u16 = 0x0010;
const PCI_EXP_DEVCAP2: usize = 0x24;
const PCI_EXP_DEVCAP2_COMP_TMOUT_DIS: u32 = 0x0000_0010;
const PCI_EXP_DEVCTL2: usize = 0x28;
const PCI_EXP_DEVCTL2_COMP_TMOUT_DIS: u16 = 0x0010;
const PCI_EXP_LNKCAP2: usize = 0x2c;
const PCI_EXP_LNKCAP2_SLS_2_5GB: u32 = 0x0000_0002;
/// Size in bytes of version 2 of the capability, whose registers of slots an endpoint has as zeros.
const EXP_SIZEOF_V2: usize = 0x3c;

/// Offset of the length of a vendor-specific capability, which is followed by its bytes.
const VNDR_LENGTH: usize = 2;
const VNDR_BYTES: usize = 3;

/// Offset of the first register of an extended capability.
const EXT_CAP_BYTES: usize = 4;
const PCI_EXT_CAP_DSN_SIZEOF: usize = 12;
const PCI_VNDR_HEADER: usize = 4;
const VSEC_BYTES: usize = 8;

/// A capability of a PCI function, besides MSI and MSI-X.
///
/// In the variants with bytes of the driver's, these are the values after a reset. A mask has a bit
/// for each that the guest can write, and may be shorter than the bytes: the rest is read-only.
///
/// # Examples
///
/// ```
/// use mdev_model::config::{Capability, Identity};
///
/// /// A mailbox of eight bytes, of which the guest can write the first four.
/// const CAPABILITIES: &[Capability] = &[
///     Capability::PowerManagement,
///     Capability::Express { flr: true },
///     Capability::SerialNumber(0x0011_2233_4455_6677),
///     Capability::ExtendedVendorSpecific {
///         id: 1,
///         revision: 0,
///         bytes: &[0; 8],
///         writable: &[0xff; 4],
///     },
/// ];
/// let card = Identity {
///     capabilities: CAPABILITIES,
///     config_size: 4096,
///     ..Identity::new(0x1234, 0x0001)
/// };
/// assert_eq!(card.check(), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// PCI Power Management, with the states D0 and D3hot. The guest can write the state; the
    /// device keeps its own in D3hot (No_Soft_Reset).
    PowerManagement,
    /// PCI Express: an endpoint with a link of one lane at 2.5 GT/s. A device that has it is an
    /// express device.
    Express {
        /// Whether the guest can reset the function (Function Level Reset).
        flr: bool,
    },
    /// A vendor-specific capability; a function can have several.
    VendorSpecific {
        /// What follows the length.
        bytes: &'static [u8],
        /// The mask of the bits of `bytes` that the guest can write.
        writable: &'static [u8],
    },
    /// An extended capability: Device Serial Number.
    SerialNumber(u64),
    /// A vendor-specific extended capability (VSEC); a function can have several.
    ExtendedVendorSpecific {
        /// Its id, of the vendor's choice.
        id: u16,
        /// Its revision, from 0 to 15.
        revision: u8,
        /// What follows the vendor-specific header.
        bytes: &'static [u8],
        /// The mask of the bits of `bytes` that the guest can write.
        writable: &'static [u8],
    },
    /// Any extended capability. A function can have several with the id of VSEC, DVSEC and DOE.
    Extended {
        /// Its id, `PCI_EXT_CAP_ID_*`; not 0.
        id: u16,
        /// Its version, from 1 to 15.
        version: u8,
        /// What follows the header.
        bytes: &'static [u8],
        /// The mask of the bits of `bytes` that the guest can write.
        writable: &'static [u8],
    },
}

/// The id of a capability.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Conventional(u8),
    /// The id and the version.
    Extended(u16, u8),
}

impl Capability {
    pub(super) const fn id(&self) -> Id {
        match *self {
            Capability::PowerManagement => Id::Conventional(PCI_CAP_ID_PM),
            Capability::Express { .. } => Id::Conventional(PCI_CAP_ID_EXP),
            Capability::VendorSpecific { .. } => Id::Conventional(PCI_CAP_ID_VNDR),
            Capability::SerialNumber(_) => Id::Extended(PCI_EXT_CAP_ID_DSN, 1),
            Capability::ExtendedVendorSpecific { .. } => Id::Extended(PCI_EXT_CAP_ID_VNDR, 1),
            Capability::Extended { id, version, .. } => Id::Extended(id, version),
        }
    }

    /// Returns whether the capability is one of the extended list.
    pub(super) const fn is_extended(&self) -> bool {
        matches!(self.id(), Id::Extended(..))
    }

    /// Returns the length in bytes, with the header.
    pub(super) const fn length(&self) -> usize {
        match *self {
            Capability::PowerManagement => PCI_PM_SIZEOF,
            Capability::Express { .. } => EXP_SIZEOF_V2,
            Capability::VendorSpecific { bytes, .. } => VNDR_BYTES + bytes.len(),
            Capability::SerialNumber(_) => PCI_EXT_CAP_DSN_SIZEOF,
            Capability::ExtendedVendorSpecific { bytes, .. } => VSEC_BYTES + bytes.len(),
            Capability::Extended { bytes, .. } => EXT_CAP_BYTES + bytes.len(),
        }
    }

    /// Returns whether a function can have several of the kind.
    pub(super) fn may_repeat(&self) -> bool {
        match self.id() {
            Id::Conventional(id) => id == PCI_CAP_ID_VNDR,
            Id::Extended(id, _) => matches!(
                id,
                PCI_EXT_CAP_ID_VNDR | PCI_EXT_CAP_ID_DVSEC | PCI_EXT_CAP_ID_DOE
            ),
        }
    }

    /// Returns whether `other` has the same id.
    pub(super) fn is_same_kind(&self, other: &Capability) -> bool {
        match (self.id(), other.id()) {
            (Id::Conventional(a), Id::Conventional(b)) => a == b,
            (Id::Extended(a, _), Id::Extended(b, _)) => a == b,
            _ => false,
        }
    }

    /// Checks what does not depend on other capabilities.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let (bytes, writable) = self.of_driver();
        if writable.len() > bytes.len() {
            return Err("the mask of a capability must not be longer than its bytes");
        }
        match *self {
            Capability::ExtendedVendorSpecific { revision: 16.., .. } => {
                Err("the revision of a vendor-specific capability must be 0 to 15")
            }
            Capability::Extended { id: 0, .. } => {
                Err("the id of an extended capability must not be 0")
            }
            Capability::Extended {
                version: 0 | 16.., ..
            } => Err("the version of an extended capability must be 1 to 15"),
            _ => Ok(()),
        }
    }

    /// Returns the bytes of the driver's choice, and the mask of those that are writable.
    fn of_driver(&self) -> (&'static [u8], &'static [u8]) {
        match *self {
            Capability::VendorSpecific { bytes, writable }
            | Capability::ExtendedVendorSpecific {
                bytes, writable, ..
            }
            | Capability::Extended {
                bytes, writable, ..
            } => (bytes, writable),
            _ => (&[], &[]),
        }
    }

    /// Calls `register(offset, value, mask of the writable bits)` for what is not zero behind the
    /// header; offsets are from the header's first byte.
    pub(super) fn registers(&self, mut register: impl FnMut(usize, &[u8], &[u8])) {
        let (bytes, writable) = self.of_driver();
        match *self {
            Capability::PowerManagement => {
                register(PCI_PM_PMC, &PMC.to_le_bytes(), &[]);
                let control = PCI_PM_CTRL_NO_SOFT_RESET.to_le_bytes();
                register(PCI_PM_CTRL, &control, &PCI_PM_CTRL_STATE_MASK.to_le_bytes());
            }
            Capability::Express { flr } => express(flr, register),
            Capability::VendorSpecific { .. } => {
                register(VNDR_LENGTH, &[self.length() as u8], &[]);
                register(VNDR_BYTES, bytes, writable);
            }
            Capability::SerialNumber(serial) => {
                register(EXT_CAP_BYTES, &serial.to_le_bytes(), &[]);
            }
            Capability::ExtendedVendorSpecific { id, revision, .. } => {
                let header = (self.length() as u32) << 20 | u32::from(revision) << 16;
                let header = header | u32::from(id);
                register(PCI_VNDR_HEADER, &header.to_le_bytes(), &[]);
                register(VSEC_BYTES, bytes, writable);
            }
            Capability::Extended { .. } => register(EXT_CAP_BYTES, bytes, writable),
        }
    }

    /// Returns the offset, from the header, of the byte that has the power state.
    pub(super) fn power_state(&self) -> Option<usize> {
        matches!(self, Capability::PowerManagement).then_some(PCI_PM_CTRL)
    }

    /// Returns the offset, from the header, of the byte with the bit that resets the function, if
    /// it has one.
    pub(super) fn reset_byte(&self) -> Option<usize> {
        matches!(self, Capability::Express { flr: true }).then_some(PCI_EXP_DEVCTL + 1)
    }
}

/// The bit of [`Capability::reset_byte`].
pub(super) const INITIATE_FLR: u8 = PCI_EXP_DEVCTL_BCR_FLR;

/// As [`Capability::registers`], for PCI Express.
///
/// The device has what each endpoint must have, and no more. Its link and device status show no
/// error, ever. Initiate Function Level Reset reads as zero, so it is not writable here.
fn express(flr: bool, mut register: impl FnMut(usize, &[u8], &[u8])) {
    register(PCI_EXP_FLAGS, &EXP_FLAGS.to_le_bytes(), &[]);
    let flr = if flr { PCI_EXP_DEVCAP_FLR } else { 0 };
    let capabilities = PCI_EXP_DEVCAP_RBER | flr;
    register(PCI_EXP_DEVCAP, &capabilities.to_le_bytes(), &[]);
    let defaults = PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN;
    let writable = defaults | PCI_EXP_DEVCTL_ERRORS | PCI_EXP_DEVCTL_READRQ;
    register(
        PCI_EXP_DEVCTL,
        &(defaults | PCI_EXP_DEVCTL_READRQ_512B).to_le_bytes(),
        &writable.to_le_bytes(),
    );
    let link = PCI_EXP_LNKCAP_SLS_2_5GB | PCI_EXP_LNKCAP_MLW_X1 | LNKCAP_ASPM_OPTIONALITY;
    register(PCI_EXP_LNKCAP, &link.to_le_bytes(), &[]);
    let writable =
        PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES;
    register(PCI_EXP_LNKCTL, &[0; 2], &writable.to_le_bytes());
    let status = PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1;
    register(PCI_EXP_LNKSTA, &status.to_le_bytes(), &[]);
    let timeout = PCI_EXP_DEVCAP2_COMP_TMOUT_DIS;
    register(PCI_EXP_DEVCAP2, &timeout.to_le_bytes(), &[]);
    let writable = PCI_EXP_DEVCTL2_COMP_TMOUT_DIS;
    register(PCI_EXP_DEVCTL2, &[0; 2], &writable.to_le_bytes());
    let speeds = PCI_EXP_LNKCAP2_SLS_2_5GB;
    register(PCI_EXP_LNKCAP2, &speeds.to_le_bytes(), &[]);
}
