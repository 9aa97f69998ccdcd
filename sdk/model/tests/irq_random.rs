// SPDX-License-Identifier: GPL-2.0

//! A device of one vector under random events, against a second implementation of its rules.

use crate::common::irq::Event::{self, Disable, Mask, Reset, Restore, Set, Start, Stop, Unmask};
use crate::common::irq::*;
use mdev_model::irq::Mode;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<bool>().prop_map(Set),
        1 => Just(Mask),
        3 => Just(Unmask),
        1 => Just(Stop),
        2 => Just(Start),
        1 => Just(Reset),
        2 => any::<bool>().prop_map(Restore),
        2 => any::<bool>().prop_map(Disable),
        2 => prop_oneof![Just(INTX), Just(INTX_UNARMED), Just(MSI), Just(MSI_UNARMED),
            Just(MSIX), Just(OFF)],
    ]
}

/// The second implementation: the last event of each kind decides, whatever came before it.
#[derive(Debug)]
struct Rules {
    mode: Mode,
    armed: bool,
    running: bool,
    level: bool,
    /// User space has masked INTx, or was signalled and has not unmasked it.
    masked: bool,
    /// User space was signalled and has not unmasked INTx.
    heard: bool,
    /// The guest has set Interrupt Disable.
    disabled: bool,
    /// User space at the source was signalled, and this one was not yet.
    missed: bool,
}

impl Rules {
    fn signals(&mut self, event: Event) -> bool {
        let rises = event == Set(true) && !self.level;
        match event {
            Set(level) => self.level = level,
            Mask => self.masked = true,
            Unmask => (self.masked, self.heard) = (false, false),
            Stop => self.running = false,
            Start => self.running = true,
            Reset => {
                (self.level, self.running) = (false, true);
                (self.missed, self.disabled) = (false, false);
            }
            Disable(disabled) => self.disabled = disabled,
            Restore(signalled) => self.missed = signalled,
            Event::Mode(mode, armed) => {
                self.masked &= self.mode == mode;
                self.heard &= self.mode == mode;
                (self.mode, self.armed) = (mode, armed);
            }
        }
        let able = self.armed && self.running;
        match self.mode {
            Mode::None => false,
            Mode::Intx => {
                let now = able && (self.level || self.missed) && !self.masked && !self.disabled;
                self.masked |= now;
                self.heard |= now;
                self.missed &= !now;
                now
            }
            Mode::Msi | Mode::Msix => {
                self.missed = false;
                able && self.level && (rises || matches!(event, Start | Event::Mode(..)))
            }
        }
    }
}

proptest! {
    #[test]
    fn random_events_signal_as_the_rules_say(events in prop::collection::vec(event(), 0..100)) {
        let mut irqs = irqs(1);
        let mut rules = Rules {
            mode: Mode::None,
            armed: false,
            running: true,
            level: false,
            masked: false,
            heard: false,
            disabled: false,
            missed: false,
        };
        for (i, &event) in events.iter().enumerate() {
            let (signalled, expected) = (run(&mut irqs, event), rules.signals(event));
            prop_assert_eq!(signalled, expected, "event {}, {:?}", i, event);
            prop_assert!(!signalled || rules.armed && rules.running);
            prop_assert_eq!(irqs.signalled(), rules.heard || rules.missed, "after event {}", i);
        }
    }

    #[test]
    fn an_asserted_intx_is_signalled_exactly_once_for_each_unmask(
        events in prop::collection::vec(event(), 0..100),
    ) {
        let mut irqs = irqs(1);
        for &event in &events {
            run(&mut irqs, event);
        }
        // Whatever came before: if INTx is asserted, armed and running, an unmask signals once.
        for event in [OFF, Restore(false), Disable(false), Set(true), Start, Mask] {
            run(&mut irqs, event);
        }
        prop_assert!(run(&mut irqs, INTX), "the new mode forgets the mask");
        for _ in 0..3 {
            prop_assert!(run(&mut irqs, Unmask));
            for event in [Set(true), Start, INTX] {
                prop_assert!(!run(&mut irqs, event), "{:?}", event);
            }
        }
    }
}
