// SPDX-License-Identifier: GPL-2.0

//! Interrupt Disable of the command register: scripts of events and the signals expected for them.

use crate::common::irq::Event::{Disable, Mask, Reset, Set, Unmask};
use crate::common::irq::{script, INTX, MSI, QUIET, SIGNAL};

#[test]
fn a_disabled_intx_is_signalled_once_it_is_enabled() {
    script(&[
        (INTX, QUIET),
        (Disable(true), QUIET),
        (Set(true), QUIET),
        (Unmask, QUIET),
        (Disable(true), QUIET),
        (Disable(false), SIGNAL),
        (Disable(false), QUIET),
    ]);
}

#[test]
fn a_handler_that_disables_intx_is_not_signalled_again_before_it_enables_it() {
    script(&[
        (INTX, QUIET),
        (Set(true), SIGNAL),
        (Disable(true), QUIET),
        (Unmask, QUIET),
        (Disable(false), SIGNAL),
        (Disable(true), QUIET),
        (Unmask, QUIET),
        (Set(false), QUIET),
        (Disable(false), QUIET),
    ]);
}

#[test]
fn enabling_intx_does_not_unmask_it() {
    script(&[
        (INTX, QUIET),
        (Mask, QUIET),
        (Set(true), QUIET),
        (Disable(true), QUIET),
        (Disable(false), QUIET),
        (Unmask, SIGNAL),
    ]);
}

#[test]
fn msi_does_not_care_for_interrupt_disable() {
    script(&[(MSI, QUIET), (Disable(true), QUIET), (Set(true), SIGNAL)]);
}

#[test]
fn a_reset_clears_interrupt_disable() {
    script(&[
        (INTX, QUIET),
        (Disable(true), QUIET),
        (Reset, QUIET),
        (Set(true), SIGNAL),
    ]);
}
