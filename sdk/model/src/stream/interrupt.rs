// SPDX-License-Identifier: GPL-2.0

//! The state of the device's interrupt in a stream: the signal that user space has not handled.

use super::record::LoadError;

/// Length in bytes of the payload of a [`Tag::INTERRUPT`](super::Tag::INTERRUPT) record.
pub const INTERRUPT_LEN: usize = 4;

/// Flag: INTx was signalled and not unmasked since.
const INTX_SIGNALLED: u32 = 1;

/// The state of the interrupt when the device was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Whether INTx was signalled and not unmasked since: user space may have raised an interrupt
    /// line for it, which migrates with the VM.
    pub intx_signalled: bool,
}

impl Interrupt {
    /// The value for a stream without the record. One signal too many makes a guest check its
    /// device once; one too few makes it hang.
    pub const UNSAID: Interrupt = Interrupt {
        intx_signalled: true,
    };

    /// Returns the payload of an interrupt record.
    pub fn encode(&self) -> [u8; INTERRUPT_LEN] {
        let flags = if self.intx_signalled {
            INTX_SIGNALLED
        } else {
            0
        };
        flags.to_le_bytes()
    }

    /// Decodes the payload of an interrupt record.
    ///
    /// # Errors
    ///
    /// [`LoadError::BadState`] for another length or an unknown flag.
    pub fn decode(bytes: &[u8]) -> Result<Self, LoadError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| LoadError::BadState("the interrupt record has another length"))?;
        match u32::from_le_bytes(bytes) {
            0 => Ok(Interrupt {
                intx_signalled: false,
            }),
            INTX_SIGNALLED => Ok(Interrupt {
                intx_signalled: true,
            }),
            _ => Err(LoadError::BadState(
                "the interrupt record has unknown flags",
            )),
        }
    }
}
