// SPDX-License-Identifier: GPL-2.0

//! The interrupt line: scripts of events and the signals expected of them, and random events
//! against a second description of the same rules.

use mdev_model::irq::{Line, Mode};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// The device drives the line.
    Set(bool),
    Mask,
    Unmask,
    Stop,
    Start,
    Reset,
    /// User space configures a mode, with or without an eventfd.
    Mode(Mode, bool),
}

use Event::{Mask, Reset, Set, Start, Stop, Unmask};

const INTX: Event = Event::Mode(Mode::Intx, true);
const INTX_UNARMED: Event = Event::Mode(Mode::Intx, false);
const MSI: Event = Event::Mode(Mode::Msi, true);
const MSI_UNARMED: Event = Event::Mode(Mode::Msi, false);
const OFF: Event = Event::Mode(Mode::None, false);

/// Whether the eventfd is signalled.
fn run(line: &mut Line, event: Event) -> bool {
    match event {
        Set(asserted) => line.set(asserted),
        Unmask => line.unmask(),
        Start => line.start(),
        Event::Mode(mode, armed) => line.set_mode(mode, armed),
        Mask => {
            line.mask();
            false
        }
        Stop => {
            line.stop();
            false
        }
        Reset => {
            line.reset();
            false
        }
    }
}

const QUIET: bool = false;
const SIGNAL: bool = true;

/// Runs the events on a new line and compares what each of them signals.
fn script(events: &[(Event, bool)]) {
    let mut line = Line::new();
    for (i, &(event, expected)) in events.iter().enumerate() {
        assert_eq!(run(&mut line, event), expected, "event {i}, {event:?}");
    }
}

#[test]
fn an_intx_signal_masks_the_interrupt() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Set(true), QUIET),
        (Set(false), QUIET),
        (Set(true), QUIET),
    ]);
}

#[test]
fn unmasking_signals_again_while_the_line_is_asserted() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Unmask, SIGNAL),
        (Unmask, SIGNAL),
        (Set(false), QUIET),
        (Unmask, QUIET),
        (Set(true), SIGNAL),
    ]);
}

#[test]
fn what_is_asserted_under_a_mask_is_signalled_by_the_unmask() {
    script(&[
        (INTX, QUIET),
        (Mask, QUIET),
        (Set(true), QUIET),
        (Unmask, SIGNAL),
    ]);
}

#[test]
fn what_falls_under_a_mask_is_not_signalled() {
    script(&[
        (INTX, QUIET),
        (Mask, QUIET),
        (Set(true), QUIET),
        (Set(false), QUIET),
        (Unmask, QUIET),
    ]);
}

#[test]
fn msi_is_signalled_by_each_rising_edge_and_by_nothing_else() {
    script(&[
        (MSI, QUIET),
        (Set(true), SIGNAL),
        (Set(true), QUIET),
        (Set(false), QUIET),
        (Set(false), QUIET),
        (Set(true), SIGNAL),
    ]);
}

#[test]
fn msi_knows_no_mask() {
    script(&[
        (MSI, QUIET),
        (Mask, QUIET),
        (Set(true), SIGNAL),
        (Unmask, QUIET),
    ]);
}

#[test]
fn a_stopped_device_signals_when_it_runs_again() {
    for mode in [INTX, MSI] {
        script(&[
            (mode, QUIET),
            (Stop, QUIET),
            (Set(true), QUIET),
            (Start, SIGNAL),
        ]);
    }
}

#[test]
fn what_falls_while_the_device_is_stopped_is_not_signalled() {
    for mode in [INTX, MSI] {
        script(&[
            (mode, QUIET),
            (Stop, QUIET),
            (Set(true), QUIET),
            (Set(false), QUIET),
            (Start, QUIET),
        ]);
    }
}

#[test]
fn unmasking_a_stopped_device_signals_when_it_runs_again() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Stop, QUIET),
        (Unmask, QUIET),
        (Start, SIGNAL),
    ]);
}

#[test]
fn a_masked_intx_stays_masked_over_stop_and_start() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Stop, QUIET),
        (Start, QUIET),
        (Unmask, SIGNAL),
    ]);
}

#[test]
fn an_asserted_msi_is_signalled_once_more_by_the_start() {
    script(&[
        (MSI, QUIET),
        (Set(true), SIGNAL),
        (Stop, QUIET),
        (Start, SIGNAL),
        (Set(true), QUIET),
    ]);
}

#[test]
fn a_reset_drops_the_line_and_runs_the_device() {
    for mode in [INTX, MSI] {
        script(&[
            (mode, QUIET),
            (Stop, QUIET),
            (Set(true), QUIET),
            (Reset, QUIET),
            (Start, QUIET),
            (Set(true), SIGNAL),
        ]);
        script(&[
            (mode, QUIET),
            (Stop, QUIET),
            (Reset, QUIET),
            (Set(true), SIGNAL),
        ]);
    }
}

#[test]
fn a_reset_leaves_mode_and_mask_to_user_space() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Reset, QUIET),
        (Set(true), QUIET),
        (Unmask, SIGNAL),
    ]);
}

#[test]
fn an_interrupt_without_an_eventfd_waits_for_one() {
    for (unarmed, armed) in [(INTX_UNARMED, INTX), (MSI_UNARMED, MSI)] {
        script(&[
            (unarmed, QUIET),
            (Set(true), QUIET),
            (armed, SIGNAL),
            (unarmed, QUIET),
            (Set(false), QUIET),
            (Set(true), QUIET),
        ]);
    }
    script(&[(INTX_UNARMED, QUIET), (Set(true), QUIET), (Unmask, QUIET)]);
}

#[test]
fn another_eventfd_for_intx_keeps_the_mask() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (INTX, QUIET),
        (Unmask, SIGNAL),
    ]);
}

#[test]
fn another_mode_forgets_the_mask() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (OFF, QUIET),
        (INTX, SIGNAL),
        (OFF, QUIET),
        (MSI, SIGNAL),
        (OFF, QUIET),
        (Mask, QUIET),
        (INTX, SIGNAL),
    ]);
}

#[test]
fn nothing_is_signalled_where_no_interrupt_is_configured() {
    script(&[
        (Set(true), QUIET),
        (Unmask, QUIET),
        (Stop, QUIET),
        (Start, QUIET),
        (Event::Mode(Mode::None, true), QUIET),
        (Unmask, QUIET),
    ]);
}

#[test]
fn the_mode_is_the_one_that_was_configured() {
    let mut line = Line::default();
    assert_eq!(line.mode(), Mode::None);
    for mode in [Mode::Intx, Mode::None, Mode::Msi] {
        let _ = line.set_mode(mode, true);
        line.reset();
        assert_eq!(line.mode(), mode);
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<bool>().prop_map(Set),
        1 => Just(Mask),
        3 => Just(Unmask),
        1 => Just(Stop),
        2 => Just(Start),
        1 => Just(Reset),
        2 => prop_oneof![Just(INTX), Just(INTX_UNARMED), Just(MSI), Just(MSI_UNARMED), Just(OFF)],
    ]
}

/// The rules a second time: what user space and the device have said, and whether INTx was signalled
/// since user space last wanted to hear of it.
#[derive(Debug)]
struct Rules {
    mode: Mode,
    armed: bool,
    running: bool,
    level: bool,
    /// User space masks INTx, or was signalled and has not unmasked it.
    masked: bool,
}

impl Rules {
    fn signals(&mut self, event: Event) -> bool {
        let rises = event == Set(true) && !self.level;
        match event {
            Set(level) => self.level = level,
            Mask => self.masked = true,
            Unmask => self.masked = false,
            Stop => self.running = false,
            Start => self.running = true,
            Reset => (self.level, self.running) = (false, true),
            Event::Mode(mode, armed) => {
                self.masked &= self.mode == mode;
                (self.mode, self.armed) = (mode, armed);
            }
        }
        let able = self.level && self.armed && self.running;
        match self.mode {
            Mode::None => false,
            Mode::Intx => able && !std::mem::replace(&mut self.masked, self.masked || able),
            Mode::Msi => able && (rises || matches!(event, Start | Event::Mode(..))),
        }
    }
}

proptest! {
    #[test]
    fn random_events_signal_as_the_rules_say(events in prop::collection::vec(event(), 0..100)) {
        let mut line = Line::new();
        let mut rules = Rules {
            mode: Mode::None,
            armed: false,
            running: true,
            level: false,
            masked: false,
        };
        for (i, &event) in events.iter().enumerate() {
            let (signalled, expected) = (run(&mut line, event), rules.signals(event));
            prop_assert_eq!(signalled, expected, "event {}, {:?}", i, event);
            prop_assert!(!signalled || rules.level && rules.armed && rules.running);
        }
    }

    #[test]
    fn an_asserted_intx_is_signalled_exactly_once_for_each_unmask(
        events in prop::collection::vec(event(), 0..100),
    ) {
        let mut line = Line::new();
        for &event in &events {
            run(&mut line, event);
        }
        // Whatever went before: running, armed, asserted INTx, and one signal for one unmask.
        for event in [OFF, Set(true), Start, Mask] {
            run(&mut line, event);
        }
        prop_assert!(run(&mut line, INTX), "the new mode forgets the mask");
        for _ in 0..3 {
            prop_assert!(run(&mut line, Unmask));
            for event in [Set(true), Start, INTX] {
                prop_assert!(!run(&mut line, event), "{:?}", event);
            }
        }
    }
}
