// SPDX-License-Identifier: GPL-2.0

//! What the SDK keeps for an open device, and what of it a driver sees: [`OpenDevice`].

use crate::{guest_memory::GuestMemory, irq::Irqs, window::Window};
use core::sync::atomic::{AtomicU32, Ordering};
use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    sync::{aref::ARef, Arc, Mutex},
};
use mdev_model::{
    config::{ConfigSpace, Identity},
    stream::Refusal,
};

/// How many refused streams are reported for an open device.
const REPORTED_REFUSALS: u32 = 16;

/// An open device, as its driver sees it from a callback.
///
/// It is made at the first open of the VFIO device. After the last close a driver that kept a reference
/// can still call it, but nothing comes of it: no interrupt is delivered, guest memory gives ENODEV.
#[pin_data]
pub struct OpenDevice {
    dev: ARef<Device>,
    identity: Identity,
    /// How many streams were refused; the first few are reported.
    refusals: AtomicU32,
    config_size: usize,
    memory: GuestMemory,
    #[pin]
    pub(crate) config: Mutex<ConfigSpace>,
    #[pin]
    pub(crate) irqs: Irqs,
    #[pin]
    pub(crate) window: Window,
}

impl OpenDevice {
    /// Made whole in here, and not as an initialiser that generic code runs: see `lock.rs`.
    pub(crate) fn new(
        dev: ARef<Device>,
        identity: Identity,
        config_size: usize,
        memory: GuestMemory,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                config <- new_mutex!(ConfigSpace::new(&identity), "mdev_config"),
                dev,
                identity,
                refusals: AtomicU32::new(0),
                config_size,
                memory,
                irqs <- Irqs::new(),
                window <- Window::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Drives the interrupt line of the device to `asserted`.
    ///
    /// With INTx this is the level of the pin; with MSI the rising edge sends the message. Call it
    /// with the lock held that protects the state from which the level follows, so that the last
    /// caller is the one that saw the last state; it does not sleep for long and takes no lock of
    /// the driver's. While the device is stopped the level is noted and delivered later.
    #[inline]
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
    #[inline]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reports that an incoming stream was refused. User space decides how often that happens, so after
    /// some times an open device says it no more.
    pub(crate) fn report_refusal(&self, refusal: Refusal) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) < REPORTED_REFUSALS {
            let reason = refusal.reason();
            dev_warn!(self.dev, "mdev: incoming state refused: {reason}\n");
        }
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
