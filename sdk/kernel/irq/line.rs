// SPDX-License-Identifier: GPL-2.0

//! The interrupts of an open device: the [`Line`] of the model, and the eventfds behind it.
//!
//! `VFIO_DEVICE_SET_IRQS` is checked here as vfio-pci checks it
//! (`drivers/vfio/pci/vfio_pci_intrs.c`).

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
    line: Line,
    /// The eventfd of the line's mode.
    trigger: Option<EventFd>,
}

impl State {
    fn signal_if(&self, now: bool) {
        if let (true, Some(eventfd)) = (now, &self.trigger) {
            eventfd.signal();
        }
    }
}

/// Delivers what `Irqs` was told to unmask by eventfd; apart from it so that the eventfd can be
/// disabled before the state goes.
#[pin_data]
pub(super) struct Delivery {
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
/// `unmask` listens on behalf of `delivery` alone. Fields are dropped in order, so it listens no
/// more when `delivery` goes.
#[pin_data]
pub(crate) struct Irqs {
    #[pin]
    unmask: Irqfd,
    #[pin]
    delivery: Delivery,
    /// What the device last drove its line to, so that driving it there again costs next to
    /// nothing. It is written with the state's lock held.
    level: Atomic<bool>,
    /// Held over a whole `VFIO_DEVICE_SET_IRQS`; outside of the state's lock, because disabling an
    /// eventfd waits for a callback that takes the latter.
    #[pin]
    setup: Mutex<()>,
}

impl Irqs {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            unmask <- Irqfd::new(),
            delivery <- pin_init!(Delivery {
                state <- new_mutex!(State { line: Line::new(), trigger: None }, "mdev_irq_state"),
            }),
            level: Atomic::new(false),
            setup <- new_mutex!((), "mdev_irq_setup"),
        })
    }

    fn with_line(&self, f: impl FnOnce(&mut Line) -> bool) {
        let mut state = self.delivery.state.lock();
        let now = f(&mut state.line);
        state.signal_if(now);
    }

    /// The device drives its interrupt line to `asserted`. Its calls follow one another, because
    /// the driver makes them with one lock held.
    #[inline]
    pub(crate) fn set_line(&self, asserted: bool) {
        if self.level.load(Relaxed) != asserted {
            self.move_line(asserted);
        }
    }

    fn move_line(&self, asserted: bool) {
        self.with_line(|line| {
            self.level.store(asserted, Relaxed);
            line.set(asserted)
        });
    }

    /// Returns the level that the device drives its line to.
    pub(crate) fn level(&self) -> bool {
        self.level.load(Relaxed)
    }

    /// The guest sets or clears Interrupt Disable.
    pub(crate) fn disable_intx(&self, disabled: bool) {
        self.with_line(|line| line.set_disabled(disabled));
    }

    /// Nothing is signalled from here on.
    pub(crate) fn stop(&self) {
        self.with_line(|line| {
            line.stop();
            false
        });
    }

    /// The device runs; signals what is asserted, and what its user has not heard of.
    pub(crate) fn start(&self) {
        self.with_line(Line::start);
    }

    /// What a stream says of it.
    pub(crate) fn save(&self) -> Interrupt {
        Interrupt {
            intx_signalled: self.delivery.state.lock().line.signalled(),
        }
    }

    /// The stopped device has come from a host where this was so.
    pub(crate) fn restore(&self, saved: Interrupt) {
        self.with_line(|line| line.restore(saved.intx_signalled));
    }

    /// The device was reset.
    pub(crate) fn reset(&self) {
        self.with_line(|line| {
            self.level.store(false, Relaxed);
            line.reset();
            false
        });
    }

    /// The device is closed: no eventfd is signalled or listened to any more.
    pub(crate) fn close(&self) {
        let _setup = self.setup.lock();
        self.switch_off();
    }

    fn switch_off(&self) {
        self.unmask.disable();
        let mut state = self.delivery.state.lock();
        // No mode, nothing to deliver.
        let _ = state.line.set_mode(Mode::None, false);
        state.trigger = None;
    }

    /// `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_INTX_IRQ_INDEX`.
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
                    // vfio-pci has no way to mask by eventfd either.
                    Data::EventFd(_) => return Err(ENOTTY),
                }
                Ok(())
            }
            raw::VFIO_IRQ_SET_ACTION_UNMASK => {
                match self.intx_data(set)? {
                    Data::None | Data::Bool(true) => self.with_line(Line::unmask),
                    Data::Bool(false) => {}
                    Data::EventFd(fd) if fd < 0 => self.unmask.disable(),
                    // SAFETY: By the type invariant `unmask` is dropped before `delivery`.
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

    /// `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_MSI_IRQ_INDEX` and `VFIO_PCI_MSIX_IRQ_INDEX`.
    pub(crate) fn set_message(&self, mode: Mode, set: &SetIrqs<'_>) -> Result {
        let _setup = self.setup.lock();
        match set.action() {
            raw::VFIO_IRQ_SET_ACTION_TRIGGER => self.configure(mode, set),
            _ => Err(ENOTTY),
        }
    }

    fn mode(&self) -> Mode {
        self.delivery.state.lock().line.mode()
    }

    fn intx_data(&self, set: &SetIrqs<'_>) -> Result<Data> {
        if self.mode() != Mode::Intx {
            return Err(EINVAL);
        }
        set.single()
    }

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
