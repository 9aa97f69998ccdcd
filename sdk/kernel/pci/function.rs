// SPDX-License-Identifier: GPL-2.0

//! A PCI function that is being probed.

use super::{bar::ParentBar, buffer::DmaBuffer, interrupt};
use crate::base::raw;
use core::{cell::Cell, ptr::NonNull};
use kernel::{
    device::{Bound, Device},
    pci,
    prelude::*,
};

/// A PCI function that is being probed, as [`PciDriver::probe`](super::PciDriver::probe) receives
/// it: enabled, bus master, and with its DMA mask set.
///
/// # Examples
///
/// [`PciDriver`](super::PciDriver) has one.
pub struct PciFunction<'a> {
    function: &'a pci::Device<Bound>,
    /// The name of its driver.
    name: &'static CStr,
    /// Whether its interrupts have a handler.
    has_handler: Cell<bool>,
}

impl<'a> PciFunction<'a> {
    pub(super) fn new(function: &'a pci::Device<Bound>, name: &'static CStr) -> Self {
        PciFunction {
            function,
            name,
            has_handler: Cell::new(false),
        }
    }

    /// Returns the function's device, for messages in the kernel log.
    pub fn device(&self) -> &Device<Bound> {
        self.function.as_ref()
    }

    /// Returns the function, for what the kernel crate knows of it.
    pub fn pci(&self) -> &pci::Device<Bound> {
        self.function
    }

    /// Maps a memory BAR.
    ///
    /// # Errors
    ///
    /// EINVAL if there is no such BAR; EBUSY if another driver has it; ENOMEM.
    pub fn bar(&self, bar: u32) -> Result<ParentBar> {
        let mapped = self.function.iomap_region(bar, self.name)?;
        ParentBar::new(self.function, bar, mapped)
    }

    /// Has `handle` called after each interrupt, by a thread that may sleep, until the function is
    /// unbound. It returns whether the interrupt was the function's, which may share a line.
    ///
    /// One vector is used: of MSI-X, else of MSI, else INTx. A line stays masked until `handle` has
    /// returned. The handler ends after the mdevs are gone, so it must not keep one's
    /// [`Context`](crate::Context) any longer than the device is open.
    ///
    /// # Errors
    ///
    /// ENOSPC without an interrupt; EBUSY if its line cannot be shared, or after another call of
    /// this or of [`on_interrupts`](Self::on_interrupts); ENOMEM.
    pub fn on_interrupt(&self, handle: impl Fn() -> bool + Send + Sync + 'static) -> Result {
        self.handle(1, move |_| handle())
    }

    /// Has `handle(vector)` called after each interrupt of one of `count` vectors of MSI-X, or else
    /// of MSI, by a thread of that vector. The rules of [`on_interrupt`](Self::on_interrupt) apply.
    ///
    /// # Errors
    ///
    /// EINVAL for no vector; ENOSPC if the function, or the machine, has fewer; else as for
    /// [`on_interrupt`](Self::on_interrupt).
    pub fn on_interrupts(
        &self,
        count: u32,
        handle: impl Fn(usize) -> bool + Send + Sync + 'static,
    ) -> Result {
        match count {
            0 => Err(EINVAL),
            _ => self.handle(count, handle),
        }
    }

    fn handle(&self, count: u32, handle: impl Fn(usize) -> bool + Send + Sync + 'static) -> Result {
        if self.has_handler.replace(true) {
            return Err(EBUSY);
        }
        let function = NonNull::from(self.function).cast::<raw::pci_dev>();
        interrupt::handle(function, self.device(), self.name, count, handle)
    }

    /// Allocates `len` bytes that the hardware reaches.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub fn dma_buffer(&self, len: usize) -> Result<DmaBuffer> {
        DmaBuffer::new(self.device(), len)
    }
}
