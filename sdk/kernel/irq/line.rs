// SPDX-License-Identifier: GPL-2.0

//! The interrupts of an open device: the [`Line`] of the model, and the eventfds behind it.
//!
//! `VFIO_DEVICE_SET_IRQS` is checked as vfio-pci checks it
//! ([`drivers/vfio/pci/vfio_pci_intrs.c`](srctree/drivers/vfio/pci/vfio_pci_intrs.c)).

use super::{
    eventfd::{EventFd, Irqfd, Listener},
    set::{eventfd, Data, SetIrqs},
};
use crate::base::raw;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Mutex,
    },
};
use mdev_model::{
    irq::{Line, Mode},
    stream::Interrupt,
};

struct State {
    /// The model of the line.
    line: Line,
    /// The eventfd of the line's mode, if user space has set one.
    trigger: Option<EventFd>,
}

impl State {
    /// Signals the eventfd if `now` is true and there is one.
    fn signal_if(&self, now: bool) {
        if let (true, Some(eventfd)) = (now, &self.trigger) {
            eventfd.signal();
        }
    }
}

/// The line and its eventfd, behind a lock, as the listener of the unmask eventfd.
///
/// It is separate from [`Irqs`] so that the unmask eventfd is disabled before the state is dropped.
#[pin_data]
struct Delivery {
    #[pin]
    state: Mutex<State>,
}

impl Listener for Delivery {
    fn signalled(&self) {
        let mut state = self.state.lock();
        let now = state.line.unmask();
        state.signal_if(now);
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
    /// The level that the device last set, so that setting it again is cheap. Written only with the
    /// lock of the state held.
    level: Atomic<bool>,
    /// Held during a whole `VFIO_DEVICE_SET_IRQS`. It is taken outside of the state's lock, because
    /// disabling an eventfd waits for a callback that takes the latter.
    #[pin]
    setup: Mutex<()>,
}

impl Irqs {
    /// Creates the interrupts of a running device, with no mode configured and the line low.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: `unmask` does not listen yet.
        pin_init!(Self {
            unmask <- Irqfd::new(),
            delivery <- pin_init!(Delivery {
                state <- new_mutex!(State { line: Line::new(), trigger: None }, "mdev_irq_state"),
            }),
            level: Atomic::new(false),
            setup <- new_mutex!((), "mdev_irq_setup"),
        })
    }

    /// Changes the line with `f`, and signals if `f` returns true.
    fn with_line(&self, f: impl FnOnce(&mut Line) -> bool) {
        let mut state = self.delivery.state.lock();
        let now = f(&mut state.line);
        state.signal_if(now);
    }

    /// Sets the level of the interrupt line, as the device drives it.
    ///
    /// Callers serialize by holding the driver's lock.
    #[inline]
    pub(crate) fn set_line(&self, asserted: bool) {
        if self.level.load(Relaxed) != asserted {
            self.move_line(asserted);
        }
    }

    /// Moves the line to another level.
    fn move_line(&self, asserted: bool) {
        self.with_line(|line| {
            self.level.store(asserted, Relaxed);
            line.set(asserted)
        });
    }

    /// Returns the model of the line as it is now.
    pub(crate) fn line(&self) -> Line {
        self.delivery.state.lock().line.clone()
    }

    /// Returns the level that the device drives its line to.
    pub(crate) fn level(&self) -> bool {
        self.level.load(Relaxed)
    }

    /// Takes over the guest's Interrupt Disable bit (`PCI_COMMAND_INTX_DISABLE`).
    pub(crate) fn disable_intx(&self, disabled: bool) {
        self.with_line(|line| line.set_disabled(disabled));
    }

    /// Stops the device's interrupts: nothing is signalled until [`start`](Self::start).
    pub(crate) fn stop(&self) {
        self.with_line(|line| {
            line.stop();
            false
        });
    }

    /// Starts the device's interrupts, and signals what is asserted or owed to user space.
    pub(crate) fn start(&self) {
        self.with_line(Line::start);
    }

    /// Returns the state of the interrupt for a stream.
    pub(crate) fn save(&self) -> Interrupt {
        Interrupt {
            intx_signalled: self.delivery.state.lock().line.signalled(),
        }
    }

    /// Takes over the state of the interrupt from a stream; the device must be stopped.
    pub(crate) fn restore(&self, saved: Interrupt) {
        self.with_line(|line| line.restore(saved.intx_signalled));
    }

    /// Resets the line and the model to their state after power-on; user space's set-up stays.
    pub(crate) fn reset(&self) {
        self.with_line(|line| {
            self.level.store(false, Relaxed);
            line.reset();
            false
        });
    }

    /// Drops all eventfds: none is signalled or listened to after this.
    pub(crate) fn close(&self) {
        let _setup = self.setup.lock();
        self.switch_off();
    }

    /// Stops listening for unmasks, leaves the mode and drops its eventfd; `setup` must be held.
    fn switch_off(&self) {
        self.unmask.disable();
        let mut state = self.delivery.state.lock();
        // Without a mode there is nothing to signal.
        let _ = state.line.set_mode(Mode::None, false);
        state.trigger = None;
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
        match set.action() {
            raw::VFIO_IRQ_SET_ACTION_TRIGGER => self.configure(Mode::Intx, set),
            raw::VFIO_IRQ_SET_ACTION_MASK => {
                match self.intx_data(set)? {
                    Data::None | Data::Bool(true) => self.with_line(|line| {
                        line.mask();
                        false
                    }),
                    Data::Bool(false) => {}
                    // vfio-pci cannot mask by eventfd either.
                    Data::EventFd(_) => return Err(ENOTTY),
                }
                Ok(())
            }
            raw::VFIO_IRQ_SET_ACTION_UNMASK => {
                match self.intx_data(set)? {
                    Data::None | Data::Bool(true) => self.with_line(Line::unmask),
                    Data::Bool(false) => {}
                    Data::EventFd(fd) if fd < 0 => self.unmask.disable(),
                    // INVARIANT: The listener is `delivery`.
                    // SAFETY: `unmask` is pinned with `self`, and by the type invariant it is
                    // dropped before `delivery`.
                    Data::EventFd(fd) => unsafe {
                        let unmask = self.map_unchecked(|this| &this.unmask);
                        unmask.enable(&self.delivery, fd)?;
                    },
                }
                Ok(())
            }
            _ => Err(ENOTTY),
        }
    }

    /// Handles `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_MSI_IRQ_INDEX` and `VFIO_PCI_MSIX_IRQ_INDEX`.
    ///
    /// # Errors
    ///
    /// EINVAL if another mode is configured or the request is not for exactly vector 0; ENOTTY for
    /// another action than a trigger; else the error of the eventfd.
    pub(crate) fn set_message(&self, mode: Mode, set: &SetIrqs<'_>) -> Result {
        let _setup = self.setup.lock();
        match set.action() {
            raw::VFIO_IRQ_SET_ACTION_TRIGGER => self.configure(mode, set),
            _ => Err(ENOTTY),
        }
    }

    /// Returns the configured mode.
    fn mode(&self) -> Mode {
        self.delivery.state.lock().line.mode()
    }

    /// Returns the data of a request to mask or unmask INTx; EINVAL if INTx is not configured.
    fn intx_data(&self, set: &SetIrqs<'_>) -> Result<Data> {
        if self.mode() != Mode::Intx {
            return Err(EINVAL);
        }
        set.single()
    }

    /// Handles a trigger for `mode`: configures or disables it, or signals as a loop-back test.
    fn configure(&self, mode: Mode, set: &SetIrqs<'_>) -> Result {
        let current = self.mode();
        if set.disables() && current == mode {
            self.switch_off();
            return Ok(());
        }
        if current != mode && current != Mode::None {
            return Err(EINVAL);
        }
        match set.single()? {
            Data::EventFd(fd) => {
                let trigger = eventfd(fd)?;
                let mut state = self.delivery.state.lock();
                let now = state.line.set_mode(mode, trigger.is_some());
                let old = core::mem::replace(&mut state.trigger, trigger);
                state.signal_if(now);
                drop(state);
                drop(old);
            }
            // Loop-back: signal as if the device had.
            data if current == mode => {
                let now = !matches!(data, Data::Bool(false));
                self.delivery.state.lock().signal_if(now);
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }
}
