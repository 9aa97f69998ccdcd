// SPDX-License-Identifier: GPL-2.0

//! The SDK's part of an open device, and the part of that which a driver sees: [`Context`].

use super::{engines::Engines, Type};
use crate::{
    base::limit::Limit,
    irq::Irqs,
    memory::{GuestMemory, Wakeup, Window},
};
use kernel::{
    device::Device,
    fmt, new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        Arc, Mutex, MutexGuard,
    },
};
use mdev_model::config::{ConfigSpace, Identity};

/// An open device, as a callback of its driver receives it.
///
/// It is created at the first open of the VFIO device. A driver that keeps a reference may use it
/// after the last close, without effect: no interrupt is delivered, and guest memory gives ENODEV.
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
    /// The mdev's type.
    ty: &'static Type,
    /// The limit on messages that user space can cause.
    reports: Arc<Limit>,
    /// The pollers of a data file.
    wakeup: Arc<Wakeup>,
    memory: GuestMemory,
    #[pin]
    config: Mutex<ConfigSpace<KVec<u8>>>,
    /// Whether the function is bus master. Written with `config` locked.
    bus_master: Atomic<bool>,
    #[pin]
    pub(super) engines: Engines,
    #[pin]
    pub(crate) irqs: Irqs,
    #[pin]
    pub(crate) window: Window,
}

impl Context {
    /// Creates the context of a device that is being opened.
    ///
    /// It allocates here and does not return an initializer, which generic code would run: see
    /// `lock.rs`.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub(crate) fn new(
        dev: ARef<Device>,
        owner: &'static ThisModule,
        ty: &'static Type,
        memory: GuestMemory,
        reports: Arc<Limit>,
        wakeup: Arc<Wakeup>,
    ) -> Result<Arc<Self>> {
        let irqs = Irqs::new(ty.identity.vectors())?;
        let config = new_config(&ty.identity)?;
        Arc::pin_init(
            pin_init!(Self {
                config <- new_mutex!(config, "mdev_config"),
                bus_master: Atomic::new(false),
                dev,
                owner,
                ty,
                reports,
                wakeup,
                memory,
                engines <- Engines::new(),
                irqs <- irqs,
                window <- Window::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Sets the level of vector 0, the interrupt of a device that has one vector; see
    /// [`set_vector`](Self::set_vector).
    #[inline]
    pub fn set_interrupt(&self, asserted: bool) {
        self.set_vector(0, asserted);
    }

    /// Sets the level of an interrupt vector; the first is 0.
    ///
    /// With MSI and MSI-X the rising edge sends the vector's message; vectors of MSI that the guest
    /// has not enabled share the last that it has. With INTx the pin is asserted while any vector
    /// is. While the device is stopped, or user space has not set the vector up, the level is
    /// recorded, and delivered as soon as that is possible.
    ///
    /// The caller must hold the lock that protects the state from which the level follows, so that
    /// the last call has the level of the last state. The function takes a spinlock, so it may be
    /// called with any lock of the driver's held, but not in an interrupt handler. It takes no lock
    /// of the driver's. A vector that the device lacks is reported as a mistake.
    #[inline]
    pub fn set_vector(&self, vector: usize, asserted: bool) {
        if !self.irqs.set(vector, asserted) {
            self.report_vector(vector);
        }
    }

    /// Sends an event of an interrupt vector: one message with MSI and MSI-X, one signal with INTx.
    ///
    /// It is for a device whose guest acknowledges nothing; one whose state says whether the
    /// interrupt is asserted uses [`set_vector`](Self::set_vector). An event that cannot be
    /// delivered yet is delivered as soon as that is possible; several are delivered as one. After
    /// a move each vector that has ever sent an event sends another, since the last may have been
    /// on its way. The same contexts are allowed as for `set_vector`.
    pub fn send_event(&self, vector: usize) {
        if !self.irqs.raise(vector) {
            self.report_vector(vector);
        }
    }

    #[cold]
    fn report_vector(&self, vector: usize) {
        let has = self.identity().vectors();
        self.report_mistake(fmt!("vector {vector} of a device that has {has}"));
    }

    /// Wakes pollers that wait, in PRE_COPY, for the device to have more to save.
    ///
    /// Must be called when [`Migrate::pending`](super::Migrate::pending) grows for another reason
    /// than a write to [`DeviceMemory`](crate::DeviceMemory), which wakes pollers itself.
    #[inline]
    pub fn notify_pending(&self) {
        self.wakeup.wake_if_armed();
    }

    /// Returns the memory of the guest that has the device.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Returns the mdev's device, for messages in the kernel log.
    pub fn device(&self) -> &Device {
        &self.dev
    }

    /// Returns the driver's module, which stays loaded while the device is in use.
    pub(super) fn owner(&self) -> &'static ThisModule {
        self.owner
    }

    /// Returns the mdev's type.
    pub(crate) fn ty(&self) -> &'static Type {
        self.ty
    }

    /// Returns the device's PCI identity.
    #[inline]
    pub(crate) fn identity(&self) -> &'static Identity {
        &self.ty.identity
    }

    /// Logs that an incoming stream was refused, if the mdev's limit of messages allows it.
    pub(crate) fn report_refusal(&self, reason: fmt::Arguments<'_>) {
        self.report(|| dev_warn!(self.dev, "mdev: incoming state refused: {reason}\n"));
    }

    /// Logs a rule of the SDK that the driver has broken, if the mdev's limit of messages allows
    /// it.
    pub(crate) fn report_mistake(&self, rule: fmt::Arguments<'_>) {
        self.report(|| dev_err!(self.dev, "mdev: the driver breaks a rule: {rule}\n"));
    }

    fn report(&self, log: impl FnOnce()) {
        let Some(left) = self.reports.spend() else {
            return;
        };
        log();
        if left == 0 {
            dev_warn!(self.dev, "mdev: nothing else of this mdev is reported\n");
        }
    }

    /// Reads the bytes at `offset` of configuration space into `data`, as the guest would.
    ///
    /// In [`Migrate::commit`](super::Migrate::commit) they are those of the stream. The call may
    /// sleep. It takes no lock of the driver's, so it may be called with any of these held.
    ///
    /// # Errors
    ///
    /// EINVAL if the bytes are out of bounds; `data` has not changed then.
    pub fn read_config(&self, offset: u64, data: &mut [u8]) -> Result {
        let in_bounds = self.config.lock().read(offset, data, self.irqs.level());
        in_bounds.then_some(()).ok_or(EINVAL)
    }

    /// Returns whether the function may access guest memory: the guest has set Bus Master Enable,
    /// and the function is in D0.
    ///
    /// Unless the identity says that the device
    /// [does not need it](mdev_model::config::Identity::needs_bus_master), the SDK refuses accesses
    /// while it is not. Takes no lock.
    #[inline]
    pub fn is_bus_master(&self) -> bool {
        self.bus_master.load(Relaxed)
    }

    /// Writes `data` at `offset` of configuration space, both of which must be in bounds, and
    /// applies it. Returns whether that initiates a function-level reset, which is up to the
    /// caller.
    #[must_use]
    pub(crate) fn write_config(&self, offset: u64, data: &[u8]) -> bool {
        let mut config = self.config.lock();
        let _ = config.write(offset, data);
        let resets = config.initiates_reset(offset, data);
        self.apply(config);
        resets
    }

    /// Passes configuration space to `save`, as a stream carries it.
    pub(crate) fn save_config<R>(&self, save: impl FnOnce(&[u8]) -> R) -> R {
        save(self.config.lock().bytes())
    }

    /// Returns whether `saved` is the configuration space of a device with the same identity.
    pub(crate) fn is_config_of_same_device(&self, saved: &[u8]) -> bool {
        self.config.lock().check(saved).is_ok()
    }

    /// Restores what the guest had written to configuration space; the device must be stopped.
    pub(crate) fn restore_config(&self, saved: &[u8]) {
        let mut config = self.config.lock();
        config.restore(saved);
        self.apply(config);
    }

    /// Applies what has changed in `config`, and unlocks it.
    fn apply(&self, config: MutexGuard<'_, ConfigSpace<KVec<u8>>>) {
        self.irqs.disable_intx(config.disables_intx());
        let changes = self.bus_master.load(Relaxed) != config.is_bus_master();
        self.bus_master.store(config.is_bus_master(), Relaxed);
        // First, because guest memory waits for accesses under way.
        drop(config);
        // Only then: it looks at each pinned range.
        if changes && self.identity().needs_bus_master {
            self.memory.set_bus_master(|| self.is_bus_master());
        }
    }

    /// Returns the interrupts, pinned.
    pub(crate) fn irqs(self: &Arc<Self>) -> Pin<&Irqs> {
        // SAFETY: An `Arc` never moves its contents, and `irqs` is not moved out of it.
        unsafe { Pin::new_unchecked(&self.irqs) }
    }

    /// Resets the SDK's part of the device to its state after power-on.
    pub(crate) fn reset(&self) {
        let mut config = self.config.lock();
        config.reset(&self.ty.identity);
        // With the lock held, as for every other change of Interrupt Disable.
        self.irqs.reset();
        self.apply(config);
        self.memory.resume();
    }
}

/// Returns the configuration space of `identity`, as after a reset.
///
/// # Errors
///
/// ENOMEM.
pub(crate) fn new_config(identity: &Identity) -> Result<ConfigSpace<KVec<u8>>> {
    ConfigSpace::new(identity, |len| {
        Ok(KVec::from_elem(0, len, GFP_KERNEL_ACCOUNT)?)
    })
}
