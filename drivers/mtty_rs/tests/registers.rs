// SPDX-License-Identifier: GPL-2.0

//! Each register: what it stores, what it shows and what it does.

mod common;

use common::*;
use mtty_model::uart::Uart;

#[test]
fn at_power_on_only_the_transmitter_status_and_the_plug_are_not_zero() {
    let mut uart = Uart::new();
    let shown: Vec<u8> = (0..8).map(|reg| uart.read(reg)).collect();
    assert_eq!(shown, [0, 0, NO_INT, 0, 0, TX_EMPTY, 0xb0, 0]);
    assert!(!uart.irq_level());
}

#[test]
fn a_reset_brings_every_register_back_to_power_on() {
    let mut uart = with_fifo();
    uart.write(LCR, DLAB | 0x03);
    uart.write(DLL, 0x34);
    uart.write(LCR, 0x03);
    uart.write(IER, 0x0f);
    uart.write(MCR, LOOP | OUT1);
    uart.write(SCR, 0x77);
    send(&mut uart, 0..20);
    uart.reset();
    assert_eq!(uart.state(), Uart::new().state());
}

/// Register, value written, value that comes back.
const STORED: [(u8, u8, u8); 11] = [
    (IER, 0xff, 0x0f),
    (IER, 0x05, 0x05),
    (IER, 0xf0, 0x00),
    (LCR, 0x1b, 0x1b),
    (LCR, 0xbf, 0xbf),
    (LCR, 0xff, 0xff),
    (MCR, 0x0b, 0x0b),
    (MCR, 0x3f, 0x3f),
    (MCR, 0xff, 0x3f),
    (SCR, 0xa5, 0xa5),
    (SCR, 0x5a, 0x5a),
];

#[test]
fn a_register_gives_back_the_bits_that_exist_of_what_was_written() {
    for (reg, written, read) in STORED {
        let mut uart = Uart::new();
        uart.write(reg, written);
        assert_eq!(uart.read(reg), read, "register {reg} after {written:#04x}");
    }
}

#[test]
fn lsr_and_msr_ignore_writes() {
    let mut uart = Uart::new();
    uart.write(LSR, 0xff);
    uart.write(MSR, 0xff);
    assert_eq!(uart.state(), Uart::new().state());
}

#[test]
fn an_offset_beyond_the_registers_reads_as_ones_and_ignores_writes() {
    let mut uart = Uart::new();
    for reg in [8, 9, 0x80, 0xff] {
        uart.write(reg, 0x55);
        assert_eq!(uart.read(reg), 0xff);
    }
    assert_eq!(uart.state(), Uart::new().state());
}

#[test]
fn dlab_swaps_the_divisor_in_for_data_and_ier_and_leaves_those_alone() {
    let mut uart = with_fifo();
    uart.write(IER, IER_MSI);
    uart.write(THR, 0x42);
    uart.write(LCR, DLAB);
    uart.write(DLL, 0x01);
    uart.write(DLM, 0xc2);
    assert_eq!([uart.read(DLL), uart.read(DLM)], [0x01, 0xc2]);
    uart.write(LCR, 0x03);
    assert_eq!([uart.read(IER), uart.read(RBR)], [IER_MSI, 0x42]);
}

#[test]
fn a_divisor_byte_replaces_the_old_one() {
    let mut uart = Uart::new();
    uart.write(LCR, DLAB);
    for (low, high) in [(0xf0, 0x0f), (0x0f, 0xf0)] {
        uart.write(DLL, low);
        uart.write(DLM, high);
        assert_eq!([uart.read(DLL), uart.read(DLM)], [low, high]);
    }
}

#[test]
fn the_divisor_survives_switching_dlab_off_and_on() {
    let mut uart = Uart::new();
    uart.write(LCR, DLAB);
    uart.write(DLL, 0x0c);
    uart.write(LCR, 0x03);
    uart.write(LCR, DLAB);
    assert_eq!(uart.read(DLL), 0x0c);
}

#[test]
fn bytes_come_back_in_the_order_they_were_sent() {
    let mut uart = with_fifo();
    send(&mut uart, *b"0123456789abcdef");
    assert_eq!(drain(&mut uart), b"0123456789abcdef");
    assert_eq!(uart.read(RBR), 0, "an empty FIFO reads as zero");
}

#[test]
fn the_fifo_takes_sixteen_bytes_and_one_byte_while_it_is_off() {
    for (fcr, depth) in [
        (FCR_ON, 16),
        (FCR_ON | FCR_TRIGGER_14, 16),
        (0, 1),
        (0xfe, 1),
    ] {
        let mut uart = Uart::new();
        uart.write(FCR, fcr);
        send(&mut uart, 0..40);
        assert_eq!(
            drain(&mut uart),
            (0..depth).collect::<Vec<u8>>(),
            "FCR {fcr:#04x}"
        );
    }
}

#[test]
fn an_overrun_drops_the_new_byte_and_shows_in_lsr_once() {
    let mut uart = with_fifo();
    send(&mut uart, 0..16);
    assert_eq!(uart.read(LSR), DR);
    uart.write(THR, 0xee);
    assert_eq!(uart.read(LSR), DR | OE);
    assert_eq!(uart.read(LSR), DR);
    assert_eq!(drain(&mut uart), (0..16).collect::<Vec<u8>>());
}

#[test]
fn lsr_says_empty_transmitter_exactly_while_nothing_waits_to_be_read() {
    let mut uart = with_fifo();
    assert_eq!(uart.read(LSR), TX_EMPTY);
    send(&mut uart, [1, 2]);
    assert_eq!(uart.read(LSR), DR);
    uart.read(RBR);
    assert_eq!(uart.read(LSR), DR);
    uart.read(RBR);
    assert_eq!(uart.read(LSR), TX_EMPTY);
}

#[test]
fn iir_says_whether_the_fifos_are_on() {
    let mut uart = Uart::new();
    for (fcr, shown) in [
        (0x01, 0xc0),
        (0x00, 0x00),
        (0xc1, 0xc0),
        (0xc0, 0x00),
        (0x21, 0xc0),
    ] {
        uart.write(FCR, fcr);
        assert_eq!(uart.read(IIR), shown | NO_INT, "FCR {fcr:#04x}");
    }
}

#[test]
fn clearing_either_fifo_or_switching_them_clears_the_loop_back() {
    for (before, after) in [
        (0x01, 0x03),
        (0x01, 0x05),
        (0x01, 0x07),
        (0x01, 0x00),
        (0x00, 0x01),
    ] {
        let mut uart = Uart::new();
        uart.write(FCR, before);
        uart.write(THR, 0x42);
        uart.write(FCR, after);
        assert_eq!(
            uart.read(LSR),
            TX_EMPTY,
            "FCR {before:#04x} then {after:#04x}"
        );
    }
}

#[test]
fn writing_fcr_without_clear_or_switch_keeps_the_bytes() {
    let mut uart = with_fifo();
    send(&mut uart, [1, 2, 3]);
    uart.write(FCR, FCR_ON | FCR_TRIGGER_14);
    assert_eq!(drain(&mut uart), [1, 2, 3]);
}

#[test]
fn the_plug_holds_cts_dsr_and_dcd_whatever_the_outputs_are() {
    let mut uart = Uart::new();
    for mcr in [0, DTR, RTS, OUT1, OUT2, DTR | RTS | OUT1 | OUT2] {
        uart.write(MCR, mcr);
        assert_eq!(uart.read(MSR), 0xb0, "MCR {mcr:#04x}");
    }
}

#[test]
fn loop_mode_maps_each_output_to_its_input() {
    for (output, input) in [(DTR, 0x20), (RTS, 0x10), (OUT1, 0x40), (OUT2, 0x80), (0, 0)] {
        let mut uart = Uart::new();
        uart.write(MCR, LOOP | output);
        assert_eq!(uart.read(MSR) & 0xf0, input, "MCR output {output:#04x}");
    }
}

#[test]
fn a_changed_input_shows_its_delta_until_msr_is_read() {
    for (output, delta) in [(DTR, 0x02), (RTS, 0x01), (OUT2, 0x08)] {
        let mut uart = Uart::new();
        uart.write(MCR, LOOP);
        uart.read(MSR);
        uart.write(MCR, LOOP | output);
        uart.write(MCR, LOOP);
        assert_eq!(uart.read(MSR), delta, "there and back is still a change");
        assert_eq!(uart.read(MSR), 0);
    }
}

#[test]
fn the_ring_indicator_shows_a_delta_only_when_it_goes_off() {
    let mut uart = Uart::new();
    uart.write(MCR, LOOP);
    uart.read(MSR);
    uart.write(MCR, LOOP | OUT1);
    assert_eq!(uart.read(MSR), 0x40);
    uart.write(MCR, LOOP);
    assert_eq!(uart.read(MSR), 0x04);
}

#[test]
fn entering_and_leaving_loop_mode_changes_the_inputs() {
    let mut uart = Uart::new();
    uart.write(MCR, LOOP);
    assert_eq!(uart.read(MSR), 0x0b);
    uart.write(MCR, 0);
    assert_eq!(uart.read(MSR), 0xbb);
}

#[test]
fn with_automatic_flow_control_cts_is_off_while_the_fifo_is_full() {
    let mut uart = with_fifo();
    uart.write(MCR, AFE | RTS);
    send(&mut uart, 0..15);
    assert_eq!(uart.read(MSR), 0xb0);
    uart.write(THR, 15);
    assert_eq!(uart.read(MSR), 0xa1);
    uart.read(RBR);
    assert_eq!(uart.read(MSR), 0xb1);
}
