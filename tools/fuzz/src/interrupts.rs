// SPDX-License-Identifier: GPL-2.0
//! Interrupts of any number of vectors, under any events.

use arbitrary::Arbitrary;
use mdev_model::irq::Mode;
use mdev_model::stream::{check_events, encode_events, event_is_set, EVENTS_MAX};

use crate::fixtures::irq::{irqs, start, Irqs};
use crate::input;

#[derive(Arbitrary, Debug)]
struct Input {
    vectors: u8,
    events: Vec<Event>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    Set(u8, bool),
    Raise(u8),
    Configure(Kind, u8),
    Arm(u8, bool),
    Mask,
    Unmask,
    Disable(bool),
    Stop,
    Start,
    Reset,
    /// The device is saved, and another one with the same eventfds goes on, running or not.
    Migrate(bool),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Kind {
    None,
    Intx,
    Msi,
    Msix,
}

/// The device, and what user space and the guest know of it.
struct Rig {
    irqs: Irqs,
    count: usize,
    armed: Vec<bool>,
    levels: Vec<bool>,
    stopped: bool,
    disabled: bool,
    /// User space has masked INTx, or was signalled and has not unmasked it.
    masked: bool,
}

/// What is signalled has an eventfd, nothing is signalled while the device is stopped or INTx is
/// masked, and what is asserted is signalled as soon as it can be.
pub fn run(data: &[u8]) {
    let Some(input) = input::of::<Input>(data) else {
        return;
    };
    let count = 1 + usize::from(input.vectors) % 40;
    let mut rig = Rig {
        irqs: irqs(count),
        count,
        armed: vec![false; count],
        levels: vec![false; count],
        stopped: false,
        disabled: false,
        masked: false,
    };
    for event in input.events {
        rig.run(event);
        rig.check();
    }
    rig.deliver_all();
}

impl Rig {
    fn run(&mut self, event: Event) {
        let signal = match event {
            Event::Set(vector, level) => {
                if let Some(known) = self.levels.get_mut(usize::from(vector)) {
                    *known = level;
                }
                self.irqs.set(vector.into(), level)
            }
            Event::Raise(vector) => self.irqs.raise(vector.into()),
            Event::Configure(kind, eventfds) => {
                self.configure(kind, eventfds.into());
                None
            }
            Event::Arm(index, armed) => {
                let eventfds = self.irqs.eventfds();
                if eventfds == 0 {
                    return;
                }
                let index = usize::from(index) % eventfds;
                self.armed[index] = armed;
                self.irqs.arm(index, armed)
            }
            Event::Mask => {
                self.masked = true;
                self.irqs.mask();
                None
            }
            Event::Unmask => {
                self.masked = false;
                self.irqs.unmask()
            }
            Event::Disable(disabled) => {
                self.disabled = disabled;
                self.irqs.set_disabled(disabled)
            }
            Event::Stop => {
                self.stopped = true;
                self.irqs.stop();
                None
            }
            Event::Start => return self.start(),
            Event::Reset => {
                self.levels.fill(false);
                (self.stopped, self.disabled) = (false, false);
                self.irqs.reset();
                None
            }
            Event::Migrate(runs) => return self.migrate(runs),
        };
        self.signalled(signal);
    }

    fn configure(&mut self, kind: Kind, eventfds: usize) {
        let mode = match kind {
            Kind::None => Mode::None,
            Kind::Intx => Mode::Intx,
            Kind::Msi => Mode::Msi,
            Kind::Msix => Mode::Msix,
        };
        let eventfds = match mode {
            Mode::None => 0,
            Mode::Intx => 1,
            Mode::Msi | Mode::Msix => 1 + eventfds % self.count,
        };
        if self.irqs.mode() != mode {
            self.armed.fill(false);
            self.masked = false;
        }
        self.irqs.configure(mode, eventfds);
    }

    fn start(&mut self) {
        self.stopped = false;
        for signal in start(&mut self.irqs) {
            self.signalled(Some(signal));
        }
    }

    /// Another device goes on: the vectors' levels follow from its state, the events are those of
    /// the stream.
    fn migrate(&mut self, runs: bool) {
        self.irqs.stop();
        let mut bitmap = [0; EVENTS_MAX];
        let raised = |vector| self.irqs.raised(vector);
        let payload = encode_events(self.count, raised, &mut bitmap).unwrap_or_default();
        if !payload.is_empty() {
            assert_eq!(check_events(payload, self.count), Ok(()));
        }
        let mut destination = irqs(self.count);
        destination.configure(self.irqs.mode(), self.irqs.eventfds());
        destination.stop();
        for index in 0..self.irqs.eventfds() {
            assert_eq!(destination.arm(index, self.armed[index]), None, "stopped");
        }
        for vector in 0..self.count {
            destination.restore_raised(vector, event_is_set(payload, vector));
            assert_eq!(
                destination.set(vector, self.levels[vector]),
                None,
                "stopped"
            );
            assert_eq!(destination.raised(vector), self.irqs.raised(vector));
        }
        assert_eq!(destination.set_disabled(self.disabled), None, "stopped");
        assert_eq!(destination.restore(self.irqs.signalled()), None, "stopped");
        self.irqs = destination;
        (self.masked, self.stopped) = (false, true);
        if runs {
            self.start();
        }
    }

    /// User space is signalled.
    fn signalled(&mut self, signal: Option<usize>) {
        let Some(eventfd) = signal else {
            return;
        };
        assert!(!self.stopped, "a signal of a device that is stopped");
        assert!(
            eventfd < self.irqs.eventfds(),
            "an eventfd that is not there"
        );
        assert!(self.armed[eventfd], "an eventfd that was not set");
        if self.irqs.mode() == Mode::Intx {
            assert!(!self.masked && !self.disabled, "INTx that is masked");
            self.masked = true;
        }
    }

    fn check(&self) {
        let summary = self.irqs.summary();
        let up = self.levels.iter().filter(|level| **level).count();
        assert_eq!(summary.asserted, up);
        assert_eq!(self.irqs.is_asserted(), up != 0);
        assert_eq!(summary.stopped, self.stopped);
        assert_eq!(summary.disabled, self.disabled);
        let armed = self.armed.iter().filter(|armed| **armed).count();
        assert_eq!(summary.armed, armed);
        let intx = self.irqs.mode() == Mode::Intx && self.armed[0];
        let able = intx && !self.stopped && !self.disabled && !self.masked;
        assert!(!able || up + summary.events == 0, "an INTx that is lost");
    }

    /// Everything that could stand in the way is taken out of it: what is asserted is signalled.
    fn deliver_all(&mut self) {
        self.run(Event::Disable(false));
        self.run(Event::Unmask);
        for index in 0..self.irqs.eventfds() {
            self.run(Event::Arm(index as u8, true));
        }
        self.irqs.stop();
        let signals = start(&mut self.irqs);
        match self.irqs.mode() {
            Mode::None => assert!(signals.is_empty()),
            Mode::Intx => self.check_pin(),
            Mode::Msi | Mode::Msix => self.check_messages(&signals),
        }
        assert_eq!(self.irqs.summary().events, self.events_left());
    }

    /// A pin that is up was signalled, and is signalled again for each time that it is unmasked.
    fn check_pin(&mut self) {
        let up = self.irqs.is_asserted();
        assert!(!up || self.irqs.signalled());
        assert_eq!(self.irqs.unmask(), up.then_some(0));
    }

    fn check_messages(&self, signals: &[usize]) {
        for vector in (0..self.count).filter(|vector| self.levels[*vector]) {
            let eventfd = match self.irqs.mode() {
                Mode::Msi => vector.min(self.irqs.eventfds() - 1),
                _ => vector,
            };
            let has_one = eventfd < self.irqs.eventfds();
            assert_eq!(signals.contains(&eventfd), has_one, "vector {vector}");
        }
    }

    /// Returns how many events cannot be signalled, because their vectors have no eventfd.
    fn events_left(&self) -> usize {
        let left = self.irqs.summary().events;
        match self.irqs.mode() {
            Mode::None => left,
            Mode::Intx | Mode::Msi => 0,
            Mode::Msix => left.min(self.count - self.irqs.eventfds()),
        }
    }
}
