// SPDX-License-Identifier: GPL-2.0

//! The interrupt line: scripts of events and the signals expected of them.

mod common;

use common::irq::Event::{self, Mask, Reset, Set, Start, Stop, Unmask};
use common::irq::*;
use mdev_model::irq::{Line, Mode};

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
    for mode in [Mode::Intx, Mode::None, Mode::Msi, Mode::Msix] {
        let _ = line.set_mode(mode, true);
        line.reset();
        assert_eq!(line.mode(), mode);
    }
}
