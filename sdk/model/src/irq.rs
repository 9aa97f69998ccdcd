// SPDX-License-Identifier: GPL-2.0

//! INTx and MSI as VFIO user space sees them: a level, a mask, and when to signal.
//!
//! VFIO's INTx is level triggered and automasked: a signal masks the interrupt, and unmasking
//! signals again if the device still asserts its line (`drivers/vfio/pci/vfio_pci_intrs.c` is the
//! model). MSI and MSI-X are edges. Nothing is signalled while the device is stopped; what was
//! asserted meanwhile is signalled once it runs again.
//!
//! Who gets a signal of INTx raises an interrupt line, and lowers it when it unmasks. A line that
//! is raised when a VM stops is raised at its next host too, where nobody knows whose it is. So the
//! device that comes there signals once, whatever its level: then its user lowers the line as ever.

/// How user space has configured the interrupt of a device.
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

/// Whether user space wants to hear of INTx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    Open,
    /// User space has masked it.
    ByUser,
    /// It was signalled, and user space may have a line raised for it until it unmasks.
    BySignal,
}

/// The interrupt line of a device and the path from it to user space.
///
/// Interrupt Disable of PCI's command register keeps INTx from being signalled, and nothing else:
/// what is asserted when it is cleared is signalled then, unless user space has masked INTx as
/// well.
///
/// Methods that return `bool` say whether the eventfd of the current [`Mode`] is to be signalled
/// now.
#[derive(Debug)]
pub struct Line {
    mode: Mode,
    /// Whether there is an eventfd to signal.
    armed: bool,
    asserted: bool,
    mask: Mask,
    /// Interrupt Disable.
    disabled: bool,
    stopped: bool,
    /// INTx is signalled at the next opportunity, asserted or not; never set in a message mode.
    owed: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// A line that is not asserted, of a running device without a configured interrupt.
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

    /// The configured mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// User space configures `mode`, with an eventfd if `armed`. A change of mode forgets the mask;
    /// another eventfd for the same mode does not. An interrupt that is already asserted is
    /// delivered through the new path.
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

    /// The device drives its line to `asserted`.
    #[must_use]
    pub fn set(&mut self, asserted: bool) -> bool {
        let edge = asserted && !self.asserted;
        self.asserted = asserted;
        match self.mode {
            Mode::Msi | Mode::Msix => edge && self.deliver(),
            _ => self.deliver(),
        }
    }

    /// User space masks INTx. What it was signalled before, it still has to unmask.
    pub fn mask(&mut self) {
        if self.mask == Mask::Open {
            self.mask = Mask::ByUser;
        }
    }

    /// User space unmasks INTx, by value or through its eventfd.
    #[must_use]
    pub fn unmask(&mut self) -> bool {
        self.mask = Mask::Open;
        self.mode == Mode::Intx && self.deliver()
    }

    /// The guest sets or clears Interrupt Disable.
    #[must_use]
    pub fn set_disabled(&mut self, disabled: bool) -> bool {
        self.disabled = disabled;
        self.mode == Mode::Intx && self.deliver()
    }

    /// Whether INTx was signalled and not unmasked since, or is to be on account of
    /// [`restore`](Self::restore): what a saved device has to say of its interrupt.
    pub fn signalled(&self) -> bool {
        self.mask == Mask::BySignal || self.owed
    }

    /// The device is one now that was saved with [`signalled`](Self::signalled) at another host.
    /// Its new user was not signalled, so that is made up for when the device runs with INTx.
    #[must_use]
    pub fn restore(&mut self, signalled: bool) -> bool {
        self.owed = signalled && !self.sends_messages();
        self.mode == Mode::Intx && self.deliver()
    }

    /// The device stops: nothing is signalled until [`start`](Self::start).
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The device runs. An asserted MSI is signalled once more: whether its edge was seen before
    /// the stop is not known here, and a spurious interrupt is harmless where a lost one is not.
    #[must_use]
    pub fn start(&mut self) -> bool {
        self.stopped = false;
        self.deliver()
    }

    /// The device was reset: the line falls, the command register is clear, and the device runs.
    /// Mode and mask are user space's and stay.
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
