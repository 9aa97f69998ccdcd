// SPDX-License-Identifier: GPL-2.0

//! INTx, MSI and MSI-X as VFIO user space sees them: levels and events of vectors, masks, and when
//! to signal.
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
//!
//! Whether user space had taken the last message of a vector when the VM stopped is not known. So
//! the destination signals each vector that is asserted, and each that has ever sent an event: a
//! message too many makes a guest look at its device once, one too few makes it hang.

mod pin;
mod vectors;

pub use vectors::{Summary, Vector, Vectors};

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

impl Mode {
    fn sends_messages(self) -> bool {
        matches!(self, Mode::Msi | Mode::Msix)
    }
}
