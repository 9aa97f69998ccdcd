// SPDX-License-Identifier: GPL-2.0

//! Why a device's accesses to guest memory are refused for a while.

use kernel::prelude::*;

/// A reason to refuse accesses to guest memory.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// The device is quiesced.
    Quiesced = 1,
    /// The device needs to be bus master, and is not.
    NotMaster = 2,
}

/// Why accesses to guest memory are refused: a set of [`Refusal`].
#[derive(Clone, Copy)]
pub(super) struct Refusals(u32);

impl Refusals {
    pub(super) const NONE: Self = Refusals(0);

    /// Adds or removes a reason.
    pub(super) fn set(&mut self, refusal: Refusal, begins: bool) {
        let others = self.0 & !(refusal as u32);
        self.0 = others | if begins { refusal as u32 } else { 0 };
    }

    /// Returns whether this is one of the reasons.
    pub(super) fn has(self, refusal: Refusal) -> bool {
        self.0 & refusal as u32 != 0
    }

    /// Returns whether there is no reason.
    #[inline]
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Returns `Ok` if nothing is refused.
    ///
    /// # Errors
    ///
    /// EBUSY if the device is quiesced, else EIO.
    #[inline]
    pub(super) fn check(self) -> Result {
        match self.is_none() {
            true => Ok(()),
            false => Err(self.error()),
        }
    }

    #[cold]
    fn error(self) -> Error {
        match self.has(Refusal::Quiesced) {
            true => EBUSY,
            false => EIO,
        }
    }
}
