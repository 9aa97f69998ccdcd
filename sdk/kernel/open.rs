// SPDX-License-Identifier: GPL-2.0

//! What the SDK keeps for an open device, and what of it a driver sees: [`OpenDevice`].

use crate::{guest_memory::GuestMemory, irq::Irqs};
use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    sync::{aref::ARef, Arc, Mutex},
};
use mdev_model::config::{ConfigSpace, Identity};

/// An open device, as its driver sees it from a callback.
///
/// It is made at the first open of the VFIO device. After the last close a driver that kept a reference
/// can still call it, but nothing comes of it: no interrupt is delivered, guest memory gives ENODEV.
#[pin_data]
pub struct OpenDevice {
    dev: ARef<Device>,
    identity: Identity,
    config_size: usize,
    memory: GuestMemory,
    #[pin]
    pub(crate) config: Mutex<ConfigSpace>,
    #[pin]
    pub(crate) irqs: Irqs,
}

impl OpenDevice {
    pub(crate) fn new(
        dev: ARef<Device>,
        identity: Identity,
        config_size: usize,
        memory: GuestMemory,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            config <- new_mutex!(ConfigSpace::new(&identity), "mdev_config"),
            dev,
            identity,
            config_size,
            memory,
            irqs <- Irqs::new(),
        })
    }

    /// Drives the interrupt line of the device to `asserted`.
    ///
    /// With INTx this is the level of the pin; with MSI the rising edge sends the message. Call it
    /// with the lock held that protects the state from which the level follows, so that the last
    /// caller is the one that saw the last state; it does not sleep for long and takes no lock of
    /// the driver's. While the device is stopped the level is noted and delivered later.
    pub fn set_interrupt(&self, asserted: bool) {
        self.irqs.set_line(asserted);
    }

    /// The memory of the guest that has the device.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The mdev, for messages in the kernel log.
    pub fn device(&self) -> &Device {
        &self.dev
    }

    /// What the device looks like on its bus.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many bytes of configuration space user space is told of.
    pub(crate) fn config_size(&self) -> usize {
        self.config_size
    }

    pub(crate) fn irqs(self: &Arc<Self>) -> Pin<&Irqs> {
        // SAFETY: An `Arc` never moves its contents, and gives them to nobody by value; `irqs` was
        // initialised in place.
        unsafe { Pin::new_unchecked(&self.irqs) }
    }

    /// Everything of the SDK's own back to its state after power-on.
    pub(crate) fn reset(&self) {
        *self.config.lock() = ConfigSpace::new(&self.identity);
        self.irqs.reset();
    }
}
