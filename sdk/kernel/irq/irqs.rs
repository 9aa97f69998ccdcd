// SPDX-License-Identifier: GPL-2.0

//! The interrupts of an open device: the [`Vectors`] of the model, and the eventfds behind them.
//!
//! `VFIO_DEVICE_SET_IRQS` is checked as vfio-pci checks it
//! ([`drivers/vfio/pci/vfio_pci_intrs.c`](srctree/drivers/vfio/pci/vfio_pci_intrs.c)).

use super::{
    eventfd::{EventFd, Irqfd, Listener},
    set::{eventfd, SetIrqs},
};
use crate::base::raw;
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Mutex, SpinLock,
    },
};
use mdev_model::{
    irq::{Mode, Summary, Vector, Vectors},
    stream::{encode_events, event_is_set, Interrupt, EVENTS_MAX},
};

struct State {
    /// The model of the vectors.
    vectors: Vectors<KVVec<Vector>>,
    /// The eventfds of the configured mode, as many as there are vectors.
    eventfds: KVVec<Option<EventFd>>,
}

impl State {
    /// Creates the state of a device with so many vectors, at least one.
    fn new(vectors: usize) -> Result<Self> {
        Ok(State {
            vectors: Vectors::new(KVVec::from_elem(
                Vector::default(),
                vectors,
                GFP_KERNEL_ACCOUNT,
            )?),
            eventfds: none(vectors)?,
        })
    }

    /// Signals the eventfd with this index, if there is one.
    fn signal(&self, index: Option<usize>) {
        let eventfd = index.and_then(|index| self.eventfds.get(index)?.as_ref());
        if let Some(eventfd) = eventfd {
            eventfd.signal();
        }
    }
}

/// Returns so many times no eventfd.
fn none(count: usize) -> Result<KVVec<Option<EventFd>>> {
    let mut eventfds = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..count {
        eventfds.push(None, GFP_KERNEL_ACCOUNT)?;
    }
    Ok(eventfds)
}

/// The vectors and their eventfds, behind a lock, as the listener of the unmask eventfd.
///
/// It is separate from [`Irqs`] so that the unmask eventfd is disabled before the state is dropped.
#[pin_data]
struct Delivery {
    #[pin]
    state: SpinLock<State>,
}

impl Listener for Delivery {
    fn signalled(&self) {
        let mut state = self.state.lock();
        let now = state.vectors.unmask();
        state.signal(now);
    }
}

/// The interrupts of an open device.
///
/// # Invariants
///
/// `unmask` listens only on behalf of `delivery`. Fields are dropped in order, so it stops
/// listening before `delivery` is dropped.
#[pin_data]
pub(crate) struct Irqs {
    #[pin]
    unmask: Irqfd,
    #[pin]
    delivery: Delivery,
    /// The level that the device last set for vector 0, so that setting it again is cheap. Written
    /// only with the lock of the state held.
    level: Atomic<bool>,
    /// The same for the other vectors, from 1 on: a device with one vector must not pay for them.
    levels: KVVec<Atomic<bool>>,
    /// Whether any of them is true. Written only with the lock of the state held.
    asserted: Atomic<bool>,
    /// Held during a whole `VFIO_DEVICE_SET_IRQS`. It is taken outside of the state's lock, because
    /// disabling an eventfd waits for a callback that takes the latter.
    #[pin]
    setup: Mutex<()>,
}

impl Irqs {
    /// Creates the interrupts of a running device with so many vectors, of which one without a
    /// kind of interrupt has one that nobody hears. No mode is configured, and no vector asserted.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub(crate) fn new(vectors: usize) -> Result<impl PinInit<Self>> {
        let vectors = vectors.max(1);
        let state = State::new(vectors)?;
        let mut levels = KVVec::with_capacity(vectors - 1, GFP_KERNEL_ACCOUNT)?;
        for _ in 1..vectors {
            levels.push(Atomic::new(false), GFP_KERNEL_ACCOUNT)?;
        }
        // INVARIANT: `unmask` does not listen yet.
        Ok(pin_init!(Self {
            unmask <- Irqfd::new(),
            delivery <- pin_init!(Delivery {
                state <- new_spinlock!(state, "mdev_irq_state"),
            }),
            level: Atomic::new(false),
            levels,
            asserted: Atomic::new(false),
            setup <- new_mutex!((), "mdev_irq_setup"),
        }))
    }

    /// Returns the number of vectors, at least one.
    fn count(&self) -> usize {
        1 + self.levels.len()
    }

    /// Changes the vectors with `f`, and signals the eventfd whose index it returns.
    fn with_vectors(&self, f: impl FnOnce(&mut Vectors<KVVec<Vector>>) -> Option<usize>) {
        let mut state = self.delivery.state.lock();
        let now = f(&mut state.vectors);
        state.signal(now);
    }

    /// Sets the level of a vector, as the device drives it; returns whether the device has it.
    ///
    /// Callers serialize by holding the driver's lock.
    #[inline]
    pub(crate) fn set(&self, vector: usize, asserted: bool) -> bool {
        let level = match vector.checked_sub(1) {
            None => &self.level,
            Some(other) => match self.levels.get(other) {
                Some(level) => level,
                None => return false,
            },
        };
        if level.load(Relaxed) != asserted {
            self.move_level(vector, level, asserted);
        }
        true
    }

    /// Moves a vector to another level.
    fn move_level(&self, vector: usize, level: &Atomic<bool>, asserted: bool) {
        self.with_vectors(|vectors| {
            level.store(asserted, Relaxed);
            let now = vectors.set(vector, asserted);
            self.asserted.store(vectors.is_asserted(), Relaxed);
            now
        });
    }

    /// Sends an event of a vector; returns whether the device has it.
    pub(crate) fn raise(&self, vector: usize) -> bool {
        let exists = vector < self.count();
        self.with_vectors(|vectors| vectors.raise(vector));
        exists
    }

    /// Returns what a reader sees of the vectors.
    pub(crate) fn summary(&self) -> Summary {
        self.delivery.state.lock().vectors.summary()
    }

    /// Returns the level of the device's interrupt pin: whether it asserts any vector.
    pub(crate) fn level(&self) -> bool {
        self.asserted.load(Relaxed)
    }

    /// Takes over the guest's Interrupt Disable bit (`PCI_COMMAND_INTX_DISABLE`).
    pub(crate) fn disable_intx(&self, disabled: bool) {
        self.with_vectors(|vectors| vectors.set_disabled(disabled));
    }

    /// Stops the device's interrupts: nothing is signalled until [`start`](Self::start).
    pub(crate) fn stop(&self) {
        self.delivery.state.lock().vectors.stop();
    }

    /// Starts the device's interrupts, and signals what is asserted or owed to user space.
    pub(crate) fn start(&self) {
        let mut state = self.delivery.state.lock();
        let State { vectors, eventfds } = &mut *state;
        vectors.start(|index| {
            if let Some(Some(eventfd)) = eventfds.get(index) {
                eventfd.signal();
            }
        });
    }

    /// Returns the state of INTx for a stream.
    pub(crate) fn save(&self) -> Interrupt {
        Interrupt {
            intx_signalled: self.delivery.state.lock().vectors.signalled(),
        }
    }

    /// Returns the vectors that have sent an event for a stream, in `bitmap`; `None` if none has.
    pub(crate) fn save_events<'a>(&self, bitmap: &'a mut [u8; EVENTS_MAX]) -> Option<&'a [u8]> {
        let state = self.delivery.state.lock();
        encode_events(self.count(), |vector| state.vectors.raised(vector), bitmap)
    }

    /// Takes over the state of the interrupts from a stream, and the bitmap of vectors that have
    /// sent an event; the device must be stopped.
    pub(crate) fn restore(&self, saved: Interrupt, events: &[u8]) {
        self.with_vectors(|vectors| {
            for vector in 0..self.count() {
                vectors.restore_raised(vector, event_is_set(events, vector));
            }
            vectors.restore(saved.intx_signalled)
        });
    }

    /// Resets the vectors to their state after power-on; user space's set-up stays.
    pub(crate) fn reset(&self) {
        self.with_vectors(|vectors| {
            self.levels
                .iter()
                .for_each(|level| level.store(false, Relaxed));
            self.level.store(false, Relaxed);
            self.asserted.store(false, Relaxed);
            vectors.reset();
            None
        });
    }

    /// Drops all eventfds: none is signalled or listened to after this.
    pub(crate) fn close(&self) {
        let _setup = self.setup.lock();
        self.switch_off();
    }

    /// Stops listening for unmasks, leaves the mode and drops its eventfds; `setup` must be held.
    fn switch_off(&self) {
        self.unmask.disable();
        self.delivery.state.lock().vectors.configure(Mode::None, 0);
        for index in 0..self.count() {
            let old = self.delivery.state.lock().eventfds[index].take();
            drop(old);
        }
    }

    /// Handles `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_INTX_IRQ_INDEX`.
    ///
    /// # Errors
    ///
    /// EINVAL if INTx is not configured (mask, unmask), another mode is (trigger), or the request
    /// is not for exactly vector 0; ENOTTY for another action or a mask by eventfd; EBUSY if an
    /// unmask eventfd is set already; else the error of the eventfd.
    pub(crate) fn set_intx(self: Pin<&Self>, set: &SetIrqs<'_>) -> Result {
        let _setup = self.setup.lock();
        let action = set.action();
        if action == raw::VFIO_IRQ_SET_ACTION_TRIGGER {
            if !set.disables() {
                set.require_vector_0()?;
            }
            return self.configure(Mode::Intx, set);
        }
        let is_mask = match action {
            raw::VFIO_IRQ_SET_ACTION_MASK => true,
            raw::VFIO_IRQ_SET_ACTION_UNMASK => false,
            _ => return Err(ENOTTY),
        };
        if self.mode() != Mode::Intx {
            return Err(EINVAL);
        }
        set.require_vector_0()?;
        match set.eventfds().next() {
            // vfio-pci cannot mask by eventfd either.
            Some(_) if is_mask => Err(ENOTTY),
            Some(fd) if fd < 0 => {
                self.unmask.disable();
                Ok(())
            }
            // INVARIANT: The listener is `delivery`.
            // SAFETY: `unmask` is pinned with `self`, and by the type invariant it is dropped
            // before `delivery`.
            Some(fd) => unsafe {
                let unmask = self.map_unchecked(|this| &this.unmask);
                unmask.enable(&self.delivery, fd)
            },
            None => {
                if set.selects(0) {
                    self.with_vectors(|vectors| match is_mask {
                        true => {
                            vectors.mask();
                            None
                        }
                        false => vectors.unmask(),
                    });
                }
                Ok(())
            }
        }
    }

    /// Handles `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_MSI_IRQ_INDEX` and `VFIO_PCI_MSIX_IRQ_INDEX`.
    ///
    /// # Errors
    ///
    /// EINVAL if another mode is configured, or MSI with fewer vectors than the request is for;
    /// ERANGE if no mode is, and the request is for no vector; ENOTTY for another action than a
    /// trigger; else the error of an eventfd, and then none of the request's is set.
    pub(crate) fn set_message(&self, mode: Mode, set: &SetIrqs<'_>) -> Result {
        let _setup = self.setup.lock();
        match set.action() {
            raw::VFIO_IRQ_SET_ACTION_TRIGGER => self.configure(mode, set),
            _ => Err(ENOTTY),
        }
    }

    /// Returns the configured mode.
    fn mode(&self) -> Mode {
        self.delivery.state.lock().vectors.mode()
    }

    /// Handles a trigger for `mode`: configures or disables it, or signals as a loop-back test.
    fn configure(&self, mode: Mode, set: &SetIrqs<'_>) -> Result {
        let (current, eventfds) = {
            let state = self.delivery.state.lock();
            (state.vectors.mode(), state.vectors.eventfds())
        };
        if set.disables() && current == mode {
            self.switch_off();
            return Ok(());
        }
        if current != mode && current != Mode::None {
            return Err(EINVAL);
        }
        if set.has_eventfds() {
            if current == Mode::None && set.range().is_empty() && set.start == 0 {
                // As pci_alloc_irq_vectors() says of no vectors.
                return Err(ERANGE);
            }
            // MSI has as many vectors as it was enabled with, MSI-X those of its table.
            let wanted = match mode {
                Mode::Msi if current == Mode::None => set.range().end,
                Mode::Msi => eventfds,
                _ => self.count(),
            };
            return self.connect(mode, wanted, set);
        }
        if current != mode {
            return Err(EINVAL);
        }
        // Loop-back: signal as if the device had.
        let state = self.delivery.state.lock();
        for (at, index) in set.range().enumerate() {
            state.signal(set.selects(at).then_some(index));
        }
        Ok(())
    }

    /// Sets the eventfds of a request, of a mode that has, or gets, so many.
    fn connect(&self, mode: Mode, count: usize, set: &SetIrqs<'_>) -> Result {
        let range = set.range();
        if range.end > count {
            return Err(EINVAL);
        }
        let mut eventfds = none(range.len())?;
        for (place, fd) in eventfds.iter_mut().zip(set.eventfds()) {
            *place = eventfd(fd)?;
        }
        self.delivery.state.lock().vectors.configure(mode, count);
        // One after the other: the lock is not held for long, and what was set is dropped without.
        for (index, new) in range.zip(eventfds.iter_mut()) {
            let mut state = self.delivery.state.lock();
            core::mem::swap(&mut state.eventfds[index], new);
            let armed = state.eventfds[index].is_some();
            let now = state.vectors.arm(index, armed);
            state.signal(now);
        }
        Ok(())
    }
}
