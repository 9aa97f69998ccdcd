// SPDX-License-Identifier: GPL-2.0

//! A device of one vector: scripts of events, and the signals expected for them.

use crate::common::irq::Event::{self, Mask, Reset, Restore, Set, Start, Stop, Unmask};
use crate::common::irq::*;
use mdev_model::irq::Mode;

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
fn intx_is_saved_as_signalled_until_it_is_unmasked() {
    let mut events = vec![(INTX, QUIET)];
    let mut after = |event, signal, saved| {
        events.push((event, signal));
        assert_eq!(script(&events).signalled(), saved, "after {events:?}");
    };
    after(Set(true), SIGNAL, true);
    after(Set(false), QUIET, true);
    after(INTX, QUIET, true);
    after(Mask, QUIET, true);
    after(Stop, QUIET, true);
    after(Unmask, QUIET, false);
    after(Start, QUIET, false);
    after(Set(true), SIGNAL, true);
    after(Reset, QUIET, true);
    after(OFF, QUIET, false);
}

#[test]
fn what_was_not_signalled_is_not_saved_as_signalled() {
    for events in [
        // A mask by user space does not count as a signal.
        &[(INTX, QUIET), (Mask, QUIET), (Set(true), QUIET)][..],
        &[(INTX_UNARMED, QUIET), (Set(true), QUIET)],
        &[(INTX, QUIET), (Stop, QUIET), (Set(true), QUIET)],
        &[(MSI, QUIET), (Set(true), SIGNAL)],
        &[(Set(true), QUIET)],
    ] {
        assert!(!script(events).signalled(), "{events:?}");
    }
}

#[test]
fn a_device_that_was_saved_as_signalled_signals_once_when_it_runs_and_whatever_its_level() {
    for level in [false, true] {
        let line = script(&[
            (INTX, QUIET),
            (Stop, QUIET),
            (Restore(true), QUIET),
            (Set(level), QUIET),
            (Start, SIGNAL),
            (Set(level), QUIET),
            (Stop, QUIET),
            (Start, QUIET),
            (Unmask, level),
            (Set(false), QUIET),
            (Unmask, QUIET),
        ]);
        assert!(!line.signalled());
    }
}

#[test]
fn a_device_that_was_not_saved_as_signalled_signals_what_is_asserted() {
    for level in [false, true] {
        script(&[
            (INTX, QUIET),
            (Stop, QUIET),
            (Restore(false), QUIET),
            (Set(level), QUIET),
            (Start, level),
        ]);
    }
}

#[test]
fn the_signal_that_is_owed_waits_for_an_eventfd_and_for_an_unmask() {
    let come = [(Stop, QUIET), (Restore(true), QUIET), (Start, QUIET)];
    script(&[&come[..], &[(INTX_UNARMED, QUIET), (INTX, SIGNAL)]].concat());
    let masked = [(INTX, QUIET), (Mask, QUIET)];
    script(&[&masked[..], &come, &[(Unmask, SIGNAL), (Unmask, QUIET)]].concat());
    // QEMU may set up the interrupt again while it loads.
    let anew = [(OFF, QUIET), (INTX, QUIET), (Start, SIGNAL)];
    script(&[&[(INTX, QUIET)], &come[..2], &anew].concat());
}

#[test]
fn nothing_is_owed_with_msi() {
    let come = [(Stop, QUIET), (Restore(true), QUIET)];
    for (before, after) in [
        (&[(MSI, QUIET)][..], &[][..]),
        (&[(INTX, QUIET)], &[(OFF, QUIET), (MSI, QUIET)]),
    ] {
        let end = [(Start, QUIET), (OFF, QUIET), (INTX, QUIET), (Unmask, QUIET)];
        script(&[before, &come, after, &end].concat());
    }
}

#[test]
fn a_reset_settles_what_is_owed() {
    script(&[
        (INTX, QUIET),
        (Stop, QUIET),
        (Restore(true), QUIET),
        (Reset, QUIET),
        (Start, QUIET),
        (Unmask, QUIET),
    ]);
}

#[test]
fn the_last_of_several_states_says_what_is_owed() {
    for (last, signal) in [(true, SIGNAL), (false, QUIET)] {
        script(&[
            (INTX, QUIET),
            (Stop, QUIET),
            (Restore(!last), QUIET),
            (Restore(last), QUIET),
            (Start, signal),
        ]);
    }
}

#[test]
fn what_is_owed_travels_on_if_nothing_happens_here() {
    let come = [(INTX, QUIET), (Stop, QUIET), (Restore(true), QUIET)];
    assert!(script(&come).signalled());
    let start = [(Start, SIGNAL), (Stop, QUIET)];
    assert!(script(&[&come[..], &start].concat()).signalled());
    let unmasked = [(Start, SIGNAL), (Unmask, QUIET), (Stop, QUIET)];
    assert!(!script(&[&come[..], &unmasked].concat()).signalled());
    assert!(!script(&[&come[..], &[(Restore(false), QUIET)]].concat()).signalled());
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
    let mut irqs = irqs(1);
    assert_eq!(irqs.mode(), Mode::None);
    for mode in [Mode::Intx, Mode::None, Mode::Msi, Mode::Msix] {
        irqs.configure(mode, 1);
        irqs.reset();
        assert_eq!(irqs.mode(), mode);
    }
}
