// SPDX-License-Identifier: GPL-2.0

//! The interrupt pin as INTx: masks, Interrupt Disable, and what is owed to user space.

/// Whether INTx is masked, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    Open,
    /// Masked by user space.
    ByUser,
    /// Masked by a signal: user space may have raised a line for it until it unmasks.
    BySignal,
}

/// The interrupt pin.
///
/// While Interrupt Disable (`PCI_COMMAND_INTX_DISABLE`) is set, INTx is not signalled. When it is
/// cleared, INTx is signalled if it is asserted and user space has not masked it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin {
    mask: Mask,
    /// Interrupt Disable.
    pub(super) disabled: bool,
    /// INTx is signalled at the next opportunity, whatever the level; never set in a message mode.
    pub(super) owed: bool,
}

impl Pin {
    pub(super) const fn new() -> Self {
        Pin {
            mask: Mask::Open,
            disabled: false,
            owed: false,
        }
    }

    /// Signals INTx if it is `asserted` or owed, and neither masked nor disabled; returns whether
    /// it is signalled.
    pub(super) fn deliver(&mut self, asserted: bool) -> bool {
        let now = (asserted || self.owed) && self.mask == Mask::Open && !self.disabled;
        if now {
            self.mask = Mask::BySignal;
            self.owed = false;
        }
        now
    }

    /// Masks INTx for user space, which must still unmask what was signalled before.
    pub(super) fn mask(&mut self) {
        if self.mask == Mask::Open {
            self.mask = Mask::ByUser;
        }
    }

    pub(super) fn unmask(&mut self) {
        self.mask = Mask::Open;
    }

    /// Returns whether INTx was signalled and not unmasked since, or is owed.
    pub(super) fn signalled(&self) -> bool {
        self.mask == Mask::BySignal || self.owed
    }

    /// Resets what belongs to the function; the mask belongs to user space, and stays.
    pub(super) fn reset(&mut self) {
        self.disabled = false;
        self.owed = false;
    }
}
