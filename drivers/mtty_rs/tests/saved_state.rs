// SPDX-License-Identifier: GPL-2.0

//! The saved state: it contains everything that a guest can see, and all else is refused.

mod common;

use common::*;
use mdev_model::record::{Field, Record};
use mtty_model::state::State;
use mtty_model::uart::Uart;
use proptest::prelude::*;

/// Offsets of the encoding, from its documentation.
const AT_IER: usize = 0;
const AT_FCR: usize = 1;
const AT_MCR: usize = 3;
const AT_OVERRUN: usize = 7;
const AT_THRI: usize = 8;
const AT_DELTA: usize = 9;
const AT_FIFO_LEN: usize = 10;
const AT_FIFO: usize = 11;

/// Encodes a port with three bytes in its FIFO, and changes one byte of the encoding.
fn refusal_of(at: usize, value: u8) -> &'static str {
    let mut uart = with_fifo();
    send(&mut uart, [1, 2, 3]);
    let mut bytes = uart.state().encode();
    bytes[at] = value;
    State::decode(&bytes).map_or_else(|bad| bad.reason(), |_| "accepted")
}

#[test]
fn each_field_out_of_range_is_refused_with_its_own_reason() {
    assert_eq!(refusal_of(AT_IER, 0x10), "unknown IER bits");
    assert_eq!(refusal_of(AT_MCR, 0x40), "unknown MCR bits");
    assert_eq!(refusal_of(AT_FCR, 0x03), "FCR bits that do not stay");
    assert_eq!(refusal_of(AT_FCR, 0xc0), "FCR bits that do not stay");
    assert_eq!(refusal_of(AT_OVERRUN, 2), "a flag that is neither 0 nor 1");
    assert_eq!(refusal_of(AT_THRI, 0xff), "a flag that is neither 0 nor 1");
    assert_eq!(refusal_of(AT_THRI, 1), "THRI with bytes to send");
    assert_eq!(refusal_of(AT_DELTA, 0x10), "unknown MSR deltas");
    assert_eq!(refusal_of(AT_FIFO_LEN, 17), "a FIFO that is too long");
    assert_eq!(refusal_of(AT_FIFO_LEN, 0xff), "a FIFO that is too long");
    assert_eq!(refusal_of(AT_FCR, 0x00), "a FIFO that is too long");
    assert_eq!(refusal_of(AT_FIFO_LEN, 2), "bytes after the FIFO");
    assert_eq!(refusal_of(AT_FIFO + 15, 1), "bytes after the FIFO");
}

#[test]
fn each_field_in_range_is_accepted() {
    for (at, value) in [
        (AT_IER, 0x0f),
        (AT_FCR, 0xc1),
        (2, 0xff),
        (AT_MCR, 0x3f),
        (4, 0xff),
        (5, 0xff),
        (6, 0xff),
        (AT_OVERRUN, 1),
        (AT_DELTA, 0x0f),
        (AT_FIFO_LEN, 16),
        (AT_FIFO + 2, 0xff),
    ] {
        assert_eq!(refusal_of(at, value), "accepted", "{value:#04x} at {at}");
    }
}

#[test]
fn a_state_of_another_length_is_refused() {
    let bytes = [0; State::LEN + 1];
    for len in (0..=State::LEN + 1).filter(|&len| len != State::LEN) {
        assert!(State::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    assert!(State::decode(&bytes[..State::LEN]).is_ok());
}

#[test]
fn the_encoding_is_the_documented_one() {
    let mut uart = Uart::new();
    uart.write(FCR, 0x81);
    uart.write(LCR, DLAB);
    uart.write(DLL, 0x34);
    uart.write(DLM, 0x12);
    uart.write(LCR, 0x1b);
    uart.write(IER, 0x05);
    uart.write(SCR, 0x77);
    send(&mut uart, 0x20..0x31);
    uart.write(MCR, LOOP | OUT2);
    let mut expected = vec![0x05, 0x81, 0x1b, 0x18, 0x77, 0x34, 0x12, 1, 0, 0x03, 16];
    expected.extend(0x20..0x30);
    assert_eq!(uart.state().encode()[..], expected);
}

#[test]
fn what_the_guest_waits_for_survives_the_move() {
    let moved = |uart: &Uart| Uart::restore(State::decode(&uart.state().encode()).unwrap());

    let mut uart = with_fifo();
    uart.write(IER, IER_THRI);
    assert_eq!(cause(&mut moved(&uart)), THRI);
    uart.read(IIR);
    assert_eq!(cause(&mut moved(&uart)), NO_INT);

    let mut uart = with_fifo();
    send(&mut uart, 0..17);
    assert_eq!(moved(&uart).read(LSR), DR | OE);
    uart.read(LSR);
    assert_eq!(moved(&uart).read(LSR), DR);

    let mut uart = with_fifo();
    uart.write(MCR, LOOP);
    uart.write(IER, IER_MSI);
    assert_eq!(cause(&mut moved(&uart)), MSI);
    uart.read(MSR);
    assert_eq!(cause(&mut moved(&uart)), NO_INT);
}

proptest! {
    #[test]
    fn the_guest_cannot_tell_the_restored_port_from_the_saved_one(
        mut saved in used_uart(),
        accesses in traffic(),
    ) {
        let bytes = saved.state().encode();
        let mut restored = Uart::restore(State::decode(&bytes).unwrap());
        prop_assert_eq!(restored.irq_level(), saved.irq_level());
        for access in accesses {
            prop_assert_eq!(access.run(&mut restored), access.run(&mut saved), "{:?}", access);
        }
        prop_assert_eq!(restored.state(), saved.state());
    }

    #[test]
    fn every_accepted_encoding_is_the_only_one_of_its_state(
        uart in used_uart(),
        at in 0..State::LEN,
        value: u8,
    ) {
        let mut bytes = uart.state().encode();
        bytes[at] = value;
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes);
        }
    }

    #[test]
    fn a_mutated_state_is_refused_or_gives_a_port_that_works(
        uart in used_uart(),
        accesses in traffic(),
    ) {
        let good = uart.state().encode();
        for at in 0..State::LEN {
            for bit in 0..8 {
                let mut bytes = good;
                bytes[at] ^= 1 << bit;
                if let Ok(state) = State::decode(&bytes) {
                    let mut uart = Uart::restore(state);
                    for access in &accesses {
                        access.run(&mut uart);
                    }
                    prop_assert!(State::decode(&uart.state().encode()).is_ok());
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_refused_or_give_a_port_that_works(
        bytes: [u8; State::LEN],
        accesses in traffic(),
    ) {
        if let Ok(state) = State::decode(&bytes) {
            let mut uart = Uart::restore(state);
            for access in accesses {
                access.run(&mut uart);
            }
        }
    }
}
