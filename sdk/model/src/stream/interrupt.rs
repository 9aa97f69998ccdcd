// SPDX-License-Identifier: GPL-2.0

//! What a stream says of the device's interrupt: which signals user space has not dealt with.

use super::record::LoadError;

/// Length in bytes of the payload of a [`Tag::INTERRUPT`](super::Tag::INTERRUPT) record.
pub const INTERRUPT_LEN: usize = 4;

/// INTx was signalled and not unmasked.
const INTX_SIGNALLED: u32 = 1;

/// What was signalled at the source when the device was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// INTx was signalled and not unmasked since: an interrupt line may be raised for it, and
    /// travels with the VM.
    pub intx_signalled: bool,
}

impl Interrupt {
    /// What holds of a stream that does not say. A signal too many costs a guest one look at its
    /// device, one too few lets it stand still.
    pub const UNSAID: Interrupt = Interrupt {
        intx_signalled: true,
    };

    /// The payload of an interrupt record.
    pub fn encode(&self) -> [u8; INTERRUPT_LEN] {
        let flags = if self.intx_signalled {
            INTX_SIGNALLED
        } else {
            0
        };
        flags.to_le_bytes()
    }

    /// Reads the payload of an interrupt record; another length or an unknown flag is refused.
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
