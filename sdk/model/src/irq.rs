// SPDX-License-Identifier: GPL-2.0

//! INTx and MSI as VFIO user space sees them: a level, a mask, and when to signal.
//!
//! VFIO's INTx is level triggered and automasked: a signal masks the interrupt, and unmasking
//! signals again if the device still asserts its line, as in
//! [`drivers/vfio/pci/vfio_pci_intrs.c`](srctree/drivers/vfio/pci/vfio_pci_intrs.c). MSI and MSI-X
//! are edges. Nothing is signalled while the device is stopped; what was asserted meanwhile is
//! signalled when it runs again.
//!
//! User space raises an interrupt line when INTx is signalled, and lowers it when it unmasks INTx.
//! A line that is raised when a VM stops is also raised at the destination, where no device is
//! known to drive it. So a device that had signalled at the source signals once at the destination,
//! whatever its level, and user space then lowers the line as usual.

/// The interrupt that user space has configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No interrupt is configured.
    None,
    /// `VFIO_PCI_INTX_IRQ_INDEX`.
    Intx,
    /// `VFIO_PCI_MSI_IRQ_INDEX`.
    Msi,
    /// `VFIO_PCI_MSIX_IRQ_INDEX`.
    Msix,
}

/// Whether INTx is masked, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    Open,
    /// Masked by user space.
    ByUser,
    /// Masked by a signal: user space may have raised a line for it until it unmasks.
    BySignal,
}

/// The interrupt line of a device, and the path from it to user space.
///
/// While Interrupt Disable (`PCI_COMMAND_INTX_DISABLE`) is set, INTx is not signalled. When it is
/// cleared, INTx is signalled if it is asserted and user space has not masked it.
///
/// Methods that return `bool` return whether the caller must signal the eventfd of the current
/// [`Mode`] now.
#[derive(Clone, Debug)]
pub struct Line {
    mode: Mode,
    /// Whether there is an eventfd to signal.
    armed: bool,
    asserted: bool,
    mask: Mask,
    /// Interrupt Disable.
    disabled: bool,
    stopped: bool,
    /// INTx is signalled at the next opportunity, whatever the level; never set in a message mode.
    owed: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// Creates the line of a running device: not asserted, and without a configured interrupt.
    pub const fn new() -> Self {
        Line {
            mode: Mode::None,
            armed: false,
            asserted: false,
            mask: Mask::Open,
            disabled: false,
            stopped: false,
            owed: false,
        }
    }

    /// Returns the configured mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Configures `mode`; `armed` is whether it has an eventfd.
    ///
    /// A change of mode clears the mask, another eventfd for the same mode does not. An interrupt
    /// that is asserted already is delivered in the new mode.
    #[must_use]
    pub fn set_mode(&mut self, mode: Mode, armed: bool) -> bool {
        if self.mode != mode {
            self.mode = mode;
            self.mask = Mask::Open;
        }
        self.owed &= !self.sends_messages();
        self.armed = armed;
        self.deliver()
    }

    /// Sets the level to which the device drives the line.
    #[must_use]
    pub fn set(&mut self, asserted: bool) -> bool {
        let edge = asserted && !self.asserted;
        self.asserted = asserted;
        match self.mode {
            Mode::Msi | Mode::Msix => edge && self.deliver(),
            _ => self.deliver(),
        }
    }

    /// Masks INTx for user space, which must still unmask what was signalled before.
    pub fn mask(&mut self) {
        if self.mask == Mask::Open {
            self.mask = Mask::ByUser;
        }
    }

    /// Unmasks INTx, on a request of user space or a signal of its eventfd.
    #[must_use]
    pub fn unmask(&mut self) -> bool {
        self.mask = Mask::Open;
        self.mode == Mode::Intx && self.deliver()
    }

    /// Sets the guest's Interrupt Disable.
    #[must_use]
    pub fn set_disabled(&mut self, disabled: bool) -> bool {
        self.disabled = disabled;
        self.mode == Mode::Intx && self.deliver()
    }

    /// Returns whether INTx was signalled and not unmasked since, or is owed by
    /// [`restore`](Self::restore); this is the part of the state that a stream carries.
    pub fn signalled(&self) -> bool {
        self.mask == Mask::BySignal || self.owed
    }

    /// Restores the state of [`signalled`](Self::signalled) from the source.
    ///
    /// User space at the destination was not signalled, so INTx is owed to it, and signalled when
    /// the device runs.
    #[must_use]
    pub fn restore(&mut self, signalled: bool) -> bool {
        self.owed = signalled && !self.sends_messages();
        self.mode == Mode::Intx && self.deliver()
    }

    /// Stops the device's interrupts: nothing is signalled until [`start`](Self::start).
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Starts the device's interrupts.
    ///
    /// An asserted MSI is signalled again: whether it was before the stop is not known, and a
    /// spurious interrupt is harmless where a lost one is not.
    #[must_use]
    pub fn start(&mut self) -> bool {
        self.stopped = false;
        self.deliver()
    }

    /// Resets the line: it is low, Interrupt Disable is clear, and the device runs.
    ///
    /// Mode and mask belong to user space, and stay.
    pub fn reset(&mut self) {
        self.asserted = false;
        self.disabled = false;
        self.stopped = false;
        self.owed = false;
    }

    fn sends_messages(&self) -> bool {
        matches!(self.mode, Mode::Msi | Mode::Msix)
    }

    fn deliver(&mut self) -> bool {
        if !self.armed || self.stopped {
            return false;
        }
        match self.mode {
            Mode::None => false,
            Mode::Msi | Mode::Msix => self.asserted,
            Mode::Intx => {
                let wanted = self.asserted || self.owed;
                let now = wanted && self.mask == Mask::Open && !self.disabled;
                if now {
                    self.mask = Mask::BySignal;
                    self.owed = false;
                }
                now
            }
        }
    }
}
