// SPDX-License-Identifier: GPL-2.0

//! The vectors of a device, and the path from them to the eventfds of user space.

use super::{pin::Pin, Mode};
use core::ops::DerefMut;

/// One vector of a device, and one eventfd of user space.
///
/// With MSI-X, the eventfd is that of the vector. With MSI, vectors for which user space has set no
/// eventfd share the last that it has; with INTx, all vectors share the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// The level to which the device drives the vector.
    asserted: bool,
    /// The device has sent an event that was not signalled yet.
    event: bool,
    /// The device has sent an event since it was reset.
    raised: bool,
    /// Whether there is an eventfd to signal.
    armed: bool,
}

/// What a reader sees of [`Vectors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The configured interrupt.
    pub mode: Mode,
    /// Number of eventfds that user space has set.
    pub armed: usize,
    /// Number of vectors that the device asserts.
    pub asserted: usize,
    /// Number of vectors with an event that was not signalled yet.
    pub events: usize,
    /// Whether INTx was signalled and not unmasked since, or is owed to user space.
    pub signalled: bool,
    /// Whether Interrupt Disable is set.
    pub disabled: bool,
    /// Whether the device is stopped.
    pub stopped: bool,
}

/// The vectors of a device.
///
/// The level of the interrupt pin is that of any vector. An event has no level: it sends one
/// message, or signals INTx once. What cannot be signalled because the device is stopped or there
/// is no eventfd is signalled as soon as it can be, if the vector is still asserted or the event
/// was not sent.
///
/// Methods that return `Option<usize>` return the index of the eventfd, of the current [`Mode`],
/// that the caller must signal now.
///
/// # Examples
///
/// ```
/// use mdev_model::irq::{Mode, Vector, Vectors};
///
/// let mut vectors = Vectors::new(vec![Vector::default(); 4]);
/// vectors.configure(Mode::Msix, 4);
/// assert_eq!(vectors.arm(2, true), None);
/// assert_eq!(vectors.set(2, true), Some(2));
/// // There is no eventfd yet.
/// assert_eq!(vectors.raise(3), None);
/// assert_eq!(vectors.arm(3, true), Some(3));
/// ```
#[derive(Clone, Debug)]
pub struct Vectors<V> {
    mode: Mode,
    stopped: bool,
    pin: Pin,
    /// Number of vectors that are asserted.
    asserted: usize,
    /// Number of vectors with an event that was not signalled yet.
    events: usize,
    /// Number of eventfds that the current mode has; at most the number of vectors.
    eventfds: usize,
    vectors: V,
}

impl<V: DerefMut<Target = [Vector]>> Vectors<V> {
    /// Creates the vectors of a running device, with nothing asserted or configured.
    pub fn new(vectors: V) -> Self {
        Vectors {
            mode: Mode::None,
            stopped: false,
            pin: Pin::new(),
            asserted: 0,
            events: 0,
            eventfds: 0,
            vectors,
        }
    }

    /// Returns the configured mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the number of eventfds that the configured mode has.
    pub fn eventfds(&self) -> usize {
        self.eventfds
    }

    /// Returns whether the device asserts a vector, which is the level of its interrupt pin.
    pub fn is_asserted(&self) -> bool {
        self.asserted != 0
    }

    /// Returns what a reader sees.
    pub fn summary(&self) -> Summary {
        let armed = |vector: &&Vector| vector.armed;
        Summary {
            mode: self.mode,
            armed: self.vectors.iter().filter(armed).count(),
            asserted: self.asserted,
            events: self.events,
            signalled: self.signalled(),
            disabled: self.pin.disabled,
            stopped: self.stopped,
        }
    }

    /// Configures `mode` with so many eventfds, at most one for each vector; none is set yet.
    ///
    /// A change of the mode clears the mask of INTx; if the mode stays, nothing changes.
    pub fn configure(&mut self, mode: Mode, eventfds: usize) {
        if self.mode != mode {
            self.mode = mode;
            self.pin.unmask();
            self.vectors
                .iter_mut()
                .for_each(|vector| vector.armed = false);
            self.eventfds = eventfds.min(self.vectors.len());
            self.pin.owed &= !mode.sends_messages();
        }
    }

    /// Sets or removes eventfd `index`, which must be one that the mode has.
    ///
    /// What is asserted already, or was not signalled yet, is delivered to it.
    #[must_use]
    pub fn arm(&mut self, index: usize, armed: bool) -> Option<usize> {
        self.vectors.get_mut(index)?.armed = armed;
        match self.mode {
            Mode::None => None,
            Mode::Intx => self.deliver_intx(),
            // All that share it: it is signalled once.
            Mode::Msi if index + 1 == self.eventfds => (index..self.vectors.len())
                .filter_map(|vector| self.deliver_due(vector))
                .last(),
            Mode::Msi | Mode::Msix => self.deliver_due(index),
        }
    }

    /// Sets the level to which the device drives vector `index`; one that it lacks is ignored.
    #[must_use]
    pub fn set(&mut self, index: usize, asserted: bool) -> Option<usize> {
        let vector = self.vectors.get_mut(index)?;
        if vector.asserted != asserted {
            vector.asserted = asserted;
            match asserted {
                true => self.asserted += 1,
                false => self.asserted -= 1,
            }
            if asserted && self.mode.sends_messages() {
                return self.send(index);
            }
        }
        self.deliver_intx()
    }

    /// Sends an event of vector `index`; of one that the device lacks it is ignored.
    #[must_use]
    pub fn raise(&mut self, index: usize) -> Option<usize> {
        let vector = self.vectors.get_mut(index)?;
        vector.raised = true;
        self.note_event(index, true);
        match self.mode {
            Mode::Msi | Mode::Msix => self.send(index),
            _ => self.deliver_intx(),
        }
    }

    /// Masks INTx for user space, which must still unmask what was signalled before.
    pub fn mask(&mut self) {
        self.pin.mask();
    }

    /// Unmasks INTx, on a request of user space or a signal of its eventfd.
    #[must_use]
    pub fn unmask(&mut self) -> Option<usize> {
        self.pin.unmask();
        self.deliver_intx()
    }

    /// Sets the guest's Interrupt Disable.
    #[must_use]
    pub fn set_disabled(&mut self, disabled: bool) -> Option<usize> {
        self.pin.disabled = disabled;
        self.deliver_intx()
    }

    /// Returns whether INTx was signalled and not unmasked since, or is owed by
    /// [`restore`](Self::restore); a stream carries it.
    pub fn signalled(&self) -> bool {
        self.pin.signalled()
    }

    /// Restores the state of [`signalled`](Self::signalled) from the source.
    ///
    /// User space at the destination was not signalled, so INTx is owed to it, and signalled when
    /// the device runs.
    #[must_use]
    pub fn restore(&mut self, signalled: bool) -> Option<usize> {
        self.pin.owed = signalled && !self.mode.sends_messages();
        self.deliver_intx()
    }

    /// Returns whether vector `index` has sent an event since the device was reset; a stream
    /// carries it.
    pub fn raised(&self, index: usize) -> bool {
        self.vectors.get(index).is_some_and(|vector| vector.raised)
    }

    /// Restores the state of [`raised`](Self::raised) from the source; the device must be stopped.
    ///
    /// Whether the last event was taken there is not known, so it is sent again when the device
    /// runs.
    pub fn restore_raised(&mut self, index: usize, raised: bool) {
        if let Some(vector) = self.vectors.get_mut(index) {
            vector.raised = raised;
            self.note_event(index, raised);
        }
    }

    /// Stops the device's interrupts: nothing is signalled until [`start`](Self::start).
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Starts the device's interrupts, and passes each eventfd that must be signalled to `signal`.
    ///
    /// An asserted vector sends its message again: whether it was sent before the stop is not
    /// known, and a spurious interrupt is harmless where a lost one is not.
    pub fn start(&mut self, mut signal: impl FnMut(usize)) {
        self.stopped = false;
        if self.mode.sends_messages() && self.asserted + self.events != 0 {
            let all = 0..self.vectors.len();
            all.filter_map(|vector| self.deliver_due(vector))
                .for_each(signal);
        } else if let Some(intx) = self.deliver_intx() {
            signal(intx);
        }
    }

    /// Resets the device's part: no vector is asserted, no event was sent, Interrupt Disable is
    /// clear, and the device runs.
    ///
    /// Mode, eventfds and mask belong to user space, and stay.
    pub fn reset(&mut self) {
        for vector in self.vectors.iter_mut() {
            *vector = Vector {
                armed: vector.armed,
                ..Vector::default()
            };
        }
        (self.asserted, self.events) = (0, 0);
        self.pin.reset();
        self.stopped = false;
    }

    /// Sends the message of vector `index` if it is asserted, or has an event to send.
    fn deliver_due(&mut self, index: usize) -> Option<usize> {
        let vector = self.vectors[index];
        (vector.asserted || vector.event)
            .then(|| self.send(index))
            .flatten()
    }

    /// Sends the message of vector `index`.
    fn send(&mut self, index: usize) -> Option<usize> {
        let eventfd = match self.mode {
            Mode::Msi => index.min(self.eventfds.checked_sub(1)?),
            _ => index,
        };
        if self.stopped || !self.vectors[eventfd].armed {
            return None;
        }
        self.note_event(index, false);
        Some(eventfd)
    }

    /// Signals INTx, if that is configured and there is a reason to.
    fn deliver_intx(&mut self) -> Option<usize> {
        let able = self.mode == Mode::Intx && !self.stopped;
        if !able || !self.vectors.first()?.armed {
            return None;
        }
        let now = self.pin.deliver(self.asserted != 0 || self.events != 0);
        if now && self.events != 0 {
            self.events = 0;
            self.vectors
                .iter_mut()
                .for_each(|vector| vector.event = false);
        }
        now.then_some(0)
    }

    /// Notes that vector `index` has an event to send, or has none.
    fn note_event(&mut self, index: usize, event: bool) {
        let vector = &mut self.vectors[index];
        match (vector.event, event) {
            (false, true) => self.events += 1,
            (true, false) => self.events -= 1,
            _ => {}
        }
        vector.event = event;
    }
}
