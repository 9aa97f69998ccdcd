// SPDX-License-Identifier: GPL-2.0

//! The accesses by which Linux's 8250 driver detects the type of a port, and the answers that make
//! it detect a plain 16550A without any workaround. Order and values are those of 7.2.

mod common;

use common::*;
use mtty_model::uart::Uart;

#[test]
fn the_existence_test_finds_the_four_interrupt_enables() {
    let mut uart = Uart::new();
    uart.write(IER, 0);
    assert_eq!(uart.read(IER) & 0x0f, 0);
    uart.write(IER, 0x0f);
    assert_eq!(uart.read(IER) & 0x0f, 0x0f);
}

#[test]
fn the_loop_back_test_sees_dcd_and_cts_alone() {
    let mut uart = Uart::new();
    let mcr = uart.read(MCR);
    uart.write(MCR, LOOP | OUT2 | RTS);
    assert_eq!(uart.read(MSR) & 0xf0, 0x90);
    uart.write(MCR, mcr);
    assert_eq!(uart.read(MSR) & 0xf0, 0xb0);
}

#[test]
fn enabling_the_fifo_shows_a_16550a() {
    let mut uart = Uart::new();
    uart.write(LCR, 0xbf);
    uart.write(FCR, 0); // EFR on other chips
    uart.write(LCR, 0);
    uart.write(FCR, FCR_ON);
    assert_eq!(uart.read(IIR) & 0xc0, 0xc0);
}

#[test]
fn the_scratch_test_tells_it_from_an_8250() {
    let mut uart = Uart::new();
    for pattern in [0xa5, 0x5a] {
        uart.write(SCR, pattern);
        assert_eq!(uart.read(SCR), pattern);
    }
}

#[test]
fn no_extended_feature_register_is_found_where_iir_is() {
    let mut uart = with_fifo();
    for conf_mode in [0x80, 0xbf] {
        uart.write(LCR, conf_mode);
        assert_ne!(uart.read(IIR), 0, "LCR {conf_mode:#04x}");
    }
}

#[test]
fn no_national_superio_bank_is_found() {
    let mut uart = with_fifo();
    for flip in [0, LOOP] {
        uart.write(LCR, 0);
        let mcr = uart.read(MCR);
        uart.write(MCR, mcr ^ flip);
        uart.write(LCR, 0xe0);
        assert_eq!((uart.read(IIR) ^ mcr) & LOOP, 0, "EXCR1 would follow MCR");
    }
}

#[test]
fn no_64_byte_fifo_of_a_16750_is_found() {
    let mut uart = with_fifo();
    for lcr in [0, 0x80] {
        uart.write(LCR, lcr);
        uart.write(FCR, FCR_ON | 0x20);
        assert_eq!(uart.read(IIR) & 0xe0, 0xc0, "LCR {lcr:#04x}");
    }
}

#[test]
fn no_unit_enable_bit_of_an_xscale_is_found() {
    let mut uart = with_fifo();
    uart.write(IER, 0x40);
    assert_eq!(uart.read(IER) & 0x40, 0);
}

#[test]
fn the_fifo_size_test_counts_sixteen() {
    let mut uart = with_fifo();
    uart.write(LCR, 0);
    uart.write(FCR, FCR_ON | FCR_CLEAR_BOTH);
    uart.write(MCR, LOOP);
    uart.write(LCR, DLAB);
    uart.write(DLL, 0x01);
    uart.write(DLM, 0x00);
    uart.write(LCR, 0x03);
    send(&mut uart, 0..=255);
    assert_eq!(drain(&mut uart).len(), 16);
}

/// The accesses of the whole probe in the driver's order, each read with its expected value.
fn probe(uart: &mut Uart) {
    let write = |uart: &mut Uart, accesses: &[(u8, u8)]| {
        for &(reg, value) in accesses {
            uart.write(reg, value);
        }
    };
    let mut reads = Vec::new();
    let mut read = |uart: &mut Uart, reg| {
        let deltas = if reg == MSR { 0x0f } else { 0 };
        reads.push(uart.read(reg) & !deltas);
    };

    // Does it exist, and does its loop-back work?
    write(uart, &[(IER, 0)]);
    read(uart, IER);
    write(uart, &[(IER, 0x0f)]);
    read(uart, IER);
    write(uart, &[(IER, 0), (MCR, LOOP | OUT2 | RTS)]);
    read(uart, MSR);
    // Is it a 16550A?
    write(
        uart,
        &[(MCR, 0), (LCR, 0xbf), (FCR, 0), (LCR, 0), (FCR, FCR_ON)],
    );
    read(uart, IIR);
    // Does it have an EFR, a SuperIO's bank 2, a 64-byte FIFO?
    for lcr in [0x80, 0xbf, 0xe0] {
        write(uart, &[(LCR, lcr)]);
        read(uart, IIR);
    }
    write(uart, &[(LCR, 0), (MCR, LOOP), (LCR, 0xe0)]);
    read(uart, IIR);
    write(uart, &[(LCR, 0), (MCR, 0)]);
    for lcr in [0, 0x80] {
        write(uart, &[(LCR, lcr), (FCR, FCR_ON | 0x20)]);
        read(uart, IIR);
        write(uart, &[(FCR, FCR_ON)]);
    }
    // Does IER have a unit enable bit?
    write(uart, &[(LCR, 0), (IER, 0x40)]);
    read(uart, IER);
    // The reset at its end.
    write(uart, &[(IER, 0), (MCR, 0), (FCR, FCR_ON)]);
    write(uart, &[(FCR, FCR_ON | FCR_CLEAR_BOTH), (FCR, 0)]);
    read(uart, RBR);
    write(uart, &[(IER, 0)]);

    let expected = [
        0, 0x0f, 0x90, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0xc1, 0, 0,
    ];
    assert_eq!(reads, expected);
}

#[test]
fn the_whole_probe_finds_a_16550a_on_a_new_port_and_on_a_used_one() {
    let mut uart = Uart::new();
    probe(&mut uart);
    probe(&mut uart);
    uart.write(FCR, FCR_ON);
    send(&mut uart, 0..17);
    uart.read(MSR);
    probe(&mut uart);
    assert!(!uart.irq_level());
}

/// Startup clears the FIFOs and reads every register that could hold an interrupt.
fn started_up() -> Uart {
    let mut uart = Uart::new();
    for fcr in [FCR_ON, FCR_ON | FCR_CLEAR_BOTH, 0] {
        uart.write(FCR, fcr);
    }
    for reg in [LSR, RBR, IIR, MSR] {
        uart.read(reg);
    }
    uart
}

#[test]
fn the_safety_check_of_lsr_passes() {
    assert_ne!(started_up().read(LSR), 0xff);
}

#[test]
fn the_thre_test_sees_the_interrupt_again_after_ier_is_toggled() {
    let mut uart = started_up();
    assert_eq!(uart.read(LSR) & TX_EMPTY, TX_EMPTY);
    for round in ["first", "second"] {
        uart.write(IER, IER_THRI);
        assert_eq!(uart.read(IIR) & NO_INT, 0, "{round} time");
        uart.write(IER, 0);
    }
}

#[test]
fn the_txen_test_sees_an_interrupt_while_the_transmitter_is_empty() {
    let mut uart = started_up();
    uart.write(LCR, 0x03);
    uart.write(MCR, OUT2);
    uart.write(IER, IER_THRI);
    assert_eq!(uart.read(LSR) & 0x40, 0x40);
    assert_eq!(uart.read(IIR) & NO_INT, 0);
}

#[test]
fn after_startup_no_interrupt_is_left_over() {
    let mut uart = started_up();
    uart.write(IER, 0x0f);
    assert_eq!(
        cause(&mut uart),
        THRI,
        "an idle transmitter, as it should be"
    );
    assert_eq!(cause(&mut uart), NO_INT);
}

/// The interrupt handler: it reads IIR until nothing is pending, drains data, and then, if LSR had
/// THRE when the draining ended, sends up to a FIFO of bytes.
fn handle_irq(uart: &mut Uart, to_send: &mut impl Iterator<Item = u8>, received: &mut Vec<u8>) {
    while uart.read(IIR) & NO_INT == 0 {
        let mut lsr = uart.read(LSR);
        while lsr & DR != 0 {
            received.push(uart.read(RBR));
            lsr = uart.read(LSR);
        }
        uart.read(MSR);
        if lsr & 0x20 != 0 {
            let sent = to_send.take(16).map(|byte| uart.write(THR, byte)).count();
            if sent == 0 {
                uart.write(IER, IER_RDI | IER_RLSI);
            }
        }
    }
}

#[test]
fn an_interrupt_driven_transfer_ends_with_every_byte_and_an_idle_line() {
    for fcr in [FCR_ON, FCR_ON | 0x80, FCR_ON | FCR_TRIGGER_14] {
        for length in [1, 13, 14, 15, 16, 17, 32, 1000u32] {
            let mut uart = started_up();
            uart.write(FCR, fcr);
            let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut to_send = message.iter().copied();
            let mut received = Vec::new();
            uart.write(IER, IER_RDI | IER_RLSI | IER_THRI);
            assert!(uart.irq_level());
            handle_irq(&mut uart, &mut to_send, &mut received);
            assert_eq!(received, message, "FCR {fcr:#04x}, {length} bytes");
            assert!(!uart.irq_level());
        }
    }
}
