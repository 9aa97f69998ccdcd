// SPDX-License-Identifier: GPL-2.0

//! What the SDK keeps for an open device, and what of it a driver sees: [`Context`].

use crate::{
    base::limit::Limit,
    irq::Irqs,
    memory::{GuestMemory, Wakeup, Window},
};
use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    sync::{aref::ARef, Arc, Mutex},
};
use mdev_model::{
    config::{self, ConfigSpace, Identity},
    stream::LoadError,
};

/// An open device, as its driver sees it from a callback.
///
/// It is made at the first open of the VFIO device. After the last close a driver that kept a
/// reference can still call it, but nothing comes of it: no interrupt is delivered, guest memory
/// gives ENODEV.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::Mutex};
/// # use mdev_sdk::Context;
/// /// Writes a fence to guest memory, then asserts the interrupt.
/// fn complete(cx: &Context, fence: u64, events: &Mutex<u32>) {
///     let written = cx.memory().write(fence, &1u32.to_le_bytes());
///     if written.is_err() {
///         dev_warn!(cx.device(), "card: no memory at the fence\n");
///     }
///     let mut events = events.lock();
///     *events |= 1;
///     // With the lock held: the level is that of the newest events.
///     cx.set_interrupt(true);
///     drop(events);
///     // There is more to save than `Migrate::pending` said last.
///     cx.notify_pending();
/// }
/// ```
#[pin_data]
pub struct Context {
    dev: ARef<Device>,
    /// The driver's module.
    owner: &'static ThisModule,
    identity: Identity,
    /// The messages that user space can cause.
    reports: Arc<Limit>,
    /// Who polls for a data file to become readable.
    wakeup: Arc<Wakeup>,
    config_size: usize,
    memory: GuestMemory,
    #[pin]
    config: Mutex<ConfigSpace>,
    #[pin]
    pub(crate) irqs: Irqs,
    #[pin]
    pub(crate) window: Window,
}

impl Context {
    /// Made whole in here, and not as an initialiser that generic code runs: see `lock.rs`.
    pub(crate) fn new(
        dev: ARef<Device>,
        owner: &'static ThisModule,
        identity: Identity,
        config_size: usize,
        memory: GuestMemory,
        reports: Arc<Limit>,
        wakeup: Arc<Wakeup>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                config <- new_mutex!(ConfigSpace::new(&identity), "mdev_config"),
                dev,
                owner,
                identity,
                reports,
                wakeup,
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

    /// Wakes user space that waits, in PRE_COPY, for the device to have more to save.
    ///
    /// Call it when what [`Migrate::pending`](super::Migrate::pending) says has grown for another
    /// reason than a write to [`DeviceMemory`](crate::DeviceMemory), which does so by itself.
    #[inline]
    pub fn notify_pending(&self) {
        self.wakeup.wake_if_armed();
    }

    /// The memory of the guest that has the device.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The mdev, for messages in the kernel log.
    pub fn device(&self) -> &Device {
        &self.dev
    }

    /// The driver's module, which a device in use keeps loaded.
    pub(super) fn owner(&self) -> &'static ThisModule {
        self.owner
    }

    /// What the device looks like on its bus.
    #[inline]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reports that an incoming stream was refused, if the mdev may still say so: user space
    /// decides how often that happens.
    pub(crate) fn report_refusal(&self, error: LoadError) {
        let Some(left) = self.reports.spend() else {
            return;
        };
        let reason = error.reason();
        dev_warn!(self.dev, "mdev: incoming state refused: {reason}\n");
        if left == 0 {
            dev_warn!(
                self.dev,
                "mdev: no other refusal of this mdev is reported\n"
            );
        }
    }

    /// Reads configuration space, of which `data` at `offset` is in bounds.
    pub(crate) fn read_config(&self, offset: u64, data: &mut [u8]) {
        let _ = self.config.lock().read(offset, data, self.irqs.level());
    }

    /// Writes configuration space, of which `data` at `offset` is in bounds, and does what that
    /// means.
    pub(crate) fn write_config(&self, offset: u64, data: &[u8]) {
        let mut config = self.config.lock();
        let _ = config.write(offset, data);
        self.irqs.disable_intx(config.disables_intx());
    }

    /// Returns configuration space as a stream has it.
    pub(crate) fn save_config(&self) -> [u8; config::SIZE] {
        *self.config.lock().bytes()
    }

    /// Returns whether `saved` is the configuration space of such a device.
    pub(crate) fn is_config_of_same_device(&self, saved: &[u8; config::SIZE]) -> bool {
        self.config.lock().check(saved).is_ok()
    }

    /// Takes over what the guest had written to the configuration space of the stopped device.
    pub(crate) fn restore_config(&self, saved: &[u8; config::SIZE]) {
        let mut config = self.config.lock();
        config.restore(saved);
        self.irqs.disable_intx(config.disables_intx());
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
