// SPDX-License-Identifier: GPL-2.0

//! Several vectors: whose eventfd is signalled, levels and events, and what a move carries.

use crate::common::irq::{irqs, start, Irqs};
use mdev_model::irq::{Mode, Summary};
use proptest::prelude::*;

/// The interrupts of a device with four vectors and so many eventfds, all of them set.
fn armed(mode: Mode, eventfds: usize) -> Irqs {
    let mut irqs = irqs(4);
    irqs.configure(mode, eventfds);
    for eventfd in 0..eventfds {
        assert_eq!(irqs.arm(eventfd, true), None);
    }
    irqs
}

#[test]
fn each_vector_of_msix_has_its_eventfd() {
    let mut irqs = armed(Mode::Msix, 4);
    for vector in 0..4 {
        assert_eq!(irqs.set(vector, true), Some(vector));
        assert_eq!(irqs.set(vector, true), None);
        assert_eq!(irqs.raise(vector), Some(vector));
        assert_eq!(irqs.raise(vector), Some(vector));
    }
    assert_eq!(irqs.set(2, false), None);
    assert_eq!(irqs.set(2, true), Some(2));
}

#[test]
fn vectors_of_msi_beyond_its_eventfds_share_the_last() {
    let mut irqs = armed(Mode::Msi, 2);
    let eventfds = [0, 1, 2, 3].map(|vector| irqs.raise(vector));
    assert_eq!(eventfds, [Some(0), Some(1), Some(1), Some(1)]);
}

#[test]
fn the_last_eventfd_of_msi_is_signalled_once_for_all_that_share_it() {
    let mut irqs = irqs(4);
    irqs.configure(Mode::Msi, 2);
    for vector in 0..4 {
        assert_eq!(irqs.raise(vector), None);
    }
    assert_eq!(irqs.arm(1, true), Some(1));
    assert_eq!(irqs.summary().events, 1);
    assert_eq!(irqs.arm(0, true), Some(0));
    assert_eq!(irqs.summary().events, 0);
}

#[test]
fn intx_has_the_level_of_any_vector() {
    let mut irqs = armed(Mode::Intx, 1);
    assert_eq!(irqs.set(3, true), Some(0));
    assert_eq!(irqs.set(1, true), None);
    assert_eq!(irqs.set(3, false), None);
    assert!(irqs.is_asserted());
    assert_eq!(irqs.unmask(), Some(0));
    assert_eq!(irqs.set(1, false), None);
    assert!(!irqs.is_asserted());
    assert_eq!(irqs.unmask(), None);
}

#[test]
fn events_signal_intx_once_and_leave_no_level() {
    let mut irqs = armed(Mode::Intx, 1);
    irqs.stop();
    assert_eq!([irqs.raise(1), irqs.raise(1), irqs.raise(2)], [None; 3]);
    assert_eq!(start(&mut irqs), [0]);
    assert!(!irqs.is_asserted());
    assert_eq!(irqs.unmask(), None);
}

#[test]
fn what_cannot_be_signalled_is_signalled_when_it_can_be() {
    let mut irqs = irqs(4);
    assert_eq!(
        [irqs.raise(1), irqs.set(2, true), irqs.set(3, true)],
        [None; 3]
    );
    // What has fallen meanwhile has no message to send.
    assert_eq!(irqs.set(3, false), None);
    irqs.configure(Mode::Msix, 4);
    let eventfds = [0, 1, 2, 3].map(|eventfd| irqs.arm(eventfd, true));
    assert_eq!(eventfds, [None, Some(1), Some(2), None]);
    irqs.stop();
    assert_eq!([irqs.raise(0), irqs.raise(1), irqs.set(3, true)], [None; 3]);
    // The asserted one again: whether it was heard before the stop is not known.
    assert_eq!(start(&mut irqs), [0, 1, 2, 3]);
    assert_eq!(start(&mut irqs), [2, 3], "an event is sent once");
}

#[test]
fn another_mode_has_no_eventfds_and_keeps_what_was_not_sent() {
    let mut irqs = armed(Mode::Msix, 4);
    irqs.stop();
    assert_eq!(irqs.raise(3), None);
    irqs.configure(Mode::None, 0);
    irqs.configure(Mode::Msi, 4);
    assert_eq!(start(&mut irqs), [0; 0]);
    assert_eq!(irqs.arm(3, true), Some(3));
}

#[test]
fn a_vector_or_eventfd_that_does_not_exist_is_ignored() {
    let mut irqs = armed(Mode::Msix, 4);
    assert_eq!(
        [irqs.set(4, true), irqs.raise(usize::MAX), irqs.arm(4, true)],
        [None; 3]
    );
    assert!(!irqs.is_asserted());
    let mut none = crate::common::irq::irqs(0);
    none.configure(Mode::Msi, 1);
    assert_eq!(
        [none.arm(0, true), none.set(0, true), none.raise(0)],
        [None; 3]
    );
    assert_eq!(start(&mut none), [0; 0]);
}

#[test]
fn a_reset_forgets_levels_and_events_and_keeps_the_eventfds() {
    let mut irqs = armed(Mode::Msix, 4);
    irqs.stop();
    assert_eq!([irqs.raise(0), irqs.set(1, true)], [None; 2]);
    irqs.reset();
    assert_eq!(
        irqs.summary(),
        Summary {
            mode: Mode::Msix,
            armed: 4,
            asserted: 0,
            events: 0,
            signalled: false,
            disabled: false,
            stopped: false,
        }
    );
    assert!(!irqs.raised(0));
    assert_eq!(irqs.set(1, true), Some(1));
}

#[test]
fn a_destination_sends_again_whatever_has_sent_an_event_at_the_source() {
    let mut source = armed(Mode::Msix, 4);
    assert_eq!(source.raise(1), Some(1));
    assert_eq!(source.set(2, true), Some(2));
    source.stop();
    let mut destination = irqs(4);
    destination.stop();
    for vector in 0..4 {
        destination.restore_raised(vector, source.raised(vector));
    }
    // The driver sets the levels from its state.
    assert_eq!(destination.set(2, true), None);
    destination.configure(Mode::Msix, 4);
    for eventfd in 0..4 {
        assert_eq!(destination.arm(eventfd, true), None);
    }
    assert_eq!(start(&mut destination), [1, 2]);
    assert!(destination.raised(1), "it travels on");
}

/// An event of a device with four vectors.
#[derive(Clone, Copy, Debug)]
enum Event {
    Set(usize, bool),
    Raise(usize),
    Arm(usize, bool),
    Configure(Mode, usize),
    Stop,
    Start,
    Unmask,
}

fn event() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![
        Just(Mode::None),
        Just(Mode::Intx),
        Just(Mode::Msi),
        Just(Mode::Msix)
    ];
    prop_oneof![
        4 => (0..4usize, any::<bool>()).prop_map(|(vector, level)| Event::Set(vector, level)),
        4 => (0..4usize).prop_map(Event::Raise),
        3 => (0..4usize, prop::bool::weighted(0.8)).prop_map(|(i, armed)| Event::Arm(i, armed)),
        1 => (mode, 1..5usize).prop_map(|(mode, eventfds)| Event::Configure(mode, eventfds)),
        1 => Just(Event::Stop),
        2 => Just(Event::Start),
        2 => Just(Event::Unmask),
    ]
}

/// The eventfds that an event signals.
fn run(irqs: &mut Irqs, event: Event) -> Vec<usize> {
    match event {
        Event::Set(vector, level) => irqs.set(vector, level).into_iter().collect(),
        Event::Raise(vector) => irqs.raise(vector).into_iter().collect(),
        Event::Arm(eventfd, armed) if eventfd < irqs.eventfds() => {
            irqs.arm(eventfd, armed).into_iter().collect()
        }
        Event::Arm(..) => Vec::new(),
        Event::Configure(mode, eventfds) => {
            let eventfds = if mode == Mode::Intx { 1 } else { eventfds };
            irqs.configure(mode, eventfds);
            Vec::new()
        }
        Event::Stop => {
            irqs.stop();
            Vec::new()
        }
        Event::Start => start(irqs),
        Event::Unmask => irqs.unmask().into_iter().collect(),
    }
}

proptest! {
    /// Counts what the device sends and what user space hears, whatever the order of events.
    #[test]
    fn every_event_is_heard_once_all_can_be_signalled(
        events in prop::collection::vec(event(), 0..100),
        last in prop_oneof![Just(Mode::Intx), Just(Mode::Msi), Just(Mode::Msix)],
        eventfds in 1..5usize,
    ) {
        let mut irqs = irqs(4);
        // Of each vector: whether an event was sent that no signal has followed, and its level.
        let mut unheard = [false; 4];
        let mut levels = [false; 4];
        let last = [Event::Configure(Mode::None, 0), Event::Configure(last, eventfds)];
        let arm = (0..4).map(|eventfd| Event::Arm(eventfd, true));
        let tail = last.into_iter().chain(arm).chain([Event::Start]);
        for event in events.into_iter().chain(tail) {
            match event {
                Event::Raise(vector) => unheard[vector] = true,
                Event::Set(vector, level) => levels[vector] = level,
                _ => {}
            }
            let signals = run(&mut irqs, event);
            for &eventfd in &signals {
                prop_assert!(eventfd < irqs.eventfds(), "{event:?} signals {eventfd}");
                for (vector, unheard) in unheard.iter_mut().enumerate() {
                    *unheard &= !match (irqs.mode(), event) {
                        // Of those that share an eventfd, what one sends is no other's.
                        (Mode::Msi, Event::Raise(sends) | Event::Set(sends, _)) => sends == vector,
                        (Mode::Msi, _) => vector.min(irqs.eventfds() - 1) == eventfd,
                        (Mode::Msix, _) => vector == eventfd,
                        _ => true,
                    };
                }
            }
            prop_assert_eq!(irqs.is_asserted(), levels.contains(&true));
            let waiting = unheard.iter().filter(|&&unheard| unheard).count();
            prop_assert_eq!(irqs.summary().events, waiting, "after {:?}", event);
        }
        if irqs.mode() == Mode::Msix {
            prop_assert!((0..irqs.eventfds()).all(|vector| !unheard[vector]));
        } else {
            prop_assert_eq!(unheard, [false; 4]);
        }
    }
}
