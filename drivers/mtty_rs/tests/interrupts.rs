// SPDX-License-Identifier: GPL-2.0

//! When each interrupt is pending, and what clears it.

mod common;

use common::*;
use mtty_model::uart::Uart;

/// Returns a port with all causes pending at once: overrun, data at the trigger level and a modem
/// change. An empty transmitter cannot be pending together with data.
fn everything_pending() -> Uart {
    let mut uart = with_fifo();
    uart.write(IER, 0x0f);
    send(&mut uart, 0..17);
    uart.write(MCR, LOOP);
    uart
}

#[test]
fn iir_shows_one_cause_at_a_time_in_the_order_of_priority() {
    let mut uart = everything_pending();
    assert_eq!(cause(&mut uart), RLSI);
    uart.read(LSR);
    assert_eq!(cause(&mut uart), RDI);
    drain(&mut uart);
    assert_eq!(cause(&mut uart), THRI);
    assert_eq!(cause(&mut uart), MSI);
    uart.read(MSR);
    assert_eq!(cause(&mut uart), NO_INT);
}

#[test]
fn the_line_stays_up_until_the_last_cause_is_cleared() {
    let mut uart = everything_pending();
    for clear in [LSR, MSR] {
        uart.read(clear);
        assert!(uart.irq_level());
    }
    drain(&mut uart);
    assert!(uart.irq_level(), "the transmitter is empty now");
    uart.read(IIR);
    assert!(!uart.irq_level());
}

#[test]
fn a_cause_that_is_not_enabled_is_not_shown() {
    let shown = |ier| {
        let mut uart = everything_pending();
        uart.write(IER, ier);
        cause(&mut uart)
    };
    assert_eq!(shown(IER_RLSI), RLSI);
    assert_eq!(shown(IER_RDI), RDI);
    assert_eq!(shown(IER_MSI), MSI);
    assert_eq!(shown(IER_RDI | IER_MSI), RDI);
    assert_eq!(shown(IER_THRI), NO_INT);
    assert_eq!(shown(0), NO_INT);
}

#[test]
fn enabling_a_cause_that_is_already_there_raises_it() {
    let mut uart = everything_pending();
    uart.write(IER, 0);
    assert!(!uart.irq_level());
    uart.write(IER, IER_RLSI);
    assert!(uart.irq_level());
}

#[test]
fn data_below_the_trigger_level_is_reported_as_a_timeout() {
    for (bits, level) in [(0x00, 1), (0x40, 4), (0x80, 8), (0xc0, 14)] {
        let mut uart = Uart::new();
        uart.write(FCR, FCR_ON | bits);
        uart.write(IER, IER_RDI);
        for sent in 1..=16 {
            uart.write(THR, 0);
            let expected = if sent < level { TIMEOUT } else { RDI };
            assert_eq!(cause(&mut uart), expected, "level {level}, {sent} sent");
        }
        for left in (1..16).rev() {
            uart.read(RBR);
            let expected = if left < level { TIMEOUT } else { RDI };
            assert_eq!(cause(&mut uart), expected, "level {level}, {left} left");
        }
        uart.read(RBR);
        assert_eq!(cause(&mut uart), NO_INT);
    }
}

#[test]
fn without_fifos_one_byte_is_data_and_not_a_timeout() {
    let mut uart = Uart::new();
    uart.write(FCR, FCR_TRIGGER_14);
    uart.write(IER, IER_RDI);
    uart.write(THR, 0x42);
    assert_eq!(uart.read(IIR), RDI);
}

#[test]
fn enabling_thri_while_the_transmitter_is_empty_reports_it_each_time() {
    let mut uart = with_fifo();
    for _ in 0..2 {
        uart.write(IER, IER_THRI);
        assert!(uart.irq_level());
        assert_eq!(cause(&mut uart), THRI);
        assert_eq!(cause(&mut uart), NO_INT);
        uart.write(IER, 0);
    }
}

#[test]
fn enabling_thri_with_bytes_to_send_reports_it_once_they_have_left() {
    let mut uart = with_fifo();
    send(&mut uart, [1, 2]);
    uart.write(IER, IER_THRI);
    assert!(!uart.irq_level());
    uart.read(RBR);
    assert!(!uart.irq_level());
    uart.read(RBR);
    assert_eq!(cause(&mut uart), THRI);
}

#[test]
fn writing_thr_takes_a_pending_thri_back() {
    let mut uart = with_fifo();
    uart.write(IER, IER_THRI);
    uart.write(THR, 0x42);
    assert!(!uart.irq_level());
}

#[test]
fn writing_ier_again_does_not_report_thri_again() {
    let mut uart = with_fifo();
    uart.write(IER, IER_THRI);
    assert_eq!(cause(&mut uart), THRI);
    uart.write(IER, IER_THRI | IER_RDI);
    assert_eq!(cause(&mut uart), NO_INT);
}

#[test]
fn reading_iir_for_a_higher_cause_leaves_thri_pending() {
    let mut uart = with_fifo();
    uart.write(IER, IER_THRI | IER_RLSI);
    send(&mut uart, 0..17);
    for _ in 0..16 {
        uart.read(RBR);
    }
    assert_eq!(cause(&mut uart), RLSI);
    uart.read(LSR);
    assert_eq!(cause(&mut uart), THRI);
}

#[test]
fn clearing_a_fifo_with_bytes_in_it_reports_thri_and_clearing_an_empty_one_does_not() {
    for (bytes, expected) in [(3, THRI), (0, NO_INT)] {
        let mut uart = with_fifo();
        uart.write(IER, IER_THRI);
        uart.read(IIR);
        send(&mut uart, 0..bytes);
        uart.write(FCR, FCR_ON | FCR_CLEAR_BOTH);
        assert_eq!(cause(&mut uart), expected, "{bytes} bytes cleared");
    }
}

#[test]
fn reading_an_empty_fifo_does_not_report_thri() {
    let mut uart = with_fifo();
    uart.write(IER, IER_THRI);
    uart.read(IIR);
    uart.read(RBR);
    assert_eq!(cause(&mut uart), NO_INT);
}

#[test]
fn out2_does_not_gate_the_interrupt() {
    let mut uart = with_fifo();
    uart.write(IER, IER_RDI);
    uart.write(THR, 0x42);
    for mcr in [0, OUT2] {
        uart.write(MCR, mcr);
        assert!(uart.irq_level());
    }
}

#[test]
fn flow_control_interrupts_when_the_fifo_fills_and_when_it_has_room_again() {
    let mut uart = with_fifo();
    uart.write(MCR, AFE);
    uart.write(IER, IER_MSI);
    send(&mut uart, 0..16);
    assert_eq!(cause(&mut uart), MSI);
    uart.read(MSR);
    assert_eq!(cause(&mut uart), NO_INT);
    uart.read(RBR);
    assert_eq!(cause(&mut uart), MSI);
}
