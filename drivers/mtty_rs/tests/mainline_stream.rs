// SPDX-License-Identifier: GPL-2.0

//! The stream of the kernel's C driver: its layout, the states that this driver can produce, and
//! those that it cannot.

mod common;

use common::*;
use mdev_model::record::Record;
use mtty_model::mainline::{
    check_header, decode_port, encode_header, encode_port, Piece, Reader, PORT_LEN,
};
use mtty_model::state::State;
use mtty_model::uart::Uart;
use proptest::prelude::*;

/// `struct mtty_data` with two ports, as a C compiler for x86-64 lays it out: the header, ...
const HEADER: [u8; 24] = [
    0x4e, 0x2c, 0x3e, 0x8c, 0x89, 0x09, 0x9d, 0x7e, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
];

/// ... a port in use: IER f5, LCR 83, MCR 0b, SCR 77; four bytes from index 14 on; an overrun,
/// divisor 120c, FCR 81 ...
#[rustfmt::skip]
const USED: [u8; PORT_LEN] = [
    0x00, 0xf5, 0x00, 0x83, 0x0b, 0x00, 0x00, 0x77,
    b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'a', b'b', b'c', b'd', b'e', b'f',
    2, 14, 4, 1, 1, 0, 0x0c, 0x12, 0x81, 16, 1, 0,
];

/// ... and one after power-on.
const UNTOUCHED: [u8; PORT_LEN] = {
    let mut port = [0; PORT_LEN];
    port[33] = 16;
    port
};

fn decoded(port: &[u8; PORT_LEN]) -> Uart {
    Uart::restore(decode_port(port).unwrap())
}

fn refusal_of(port: [u8; PORT_LEN], at: usize, value: u8) -> &'static str {
    let mut port = port;
    port[at] = value;
    decode_port(&port).map_or_else(|bad| bad, |_| "accepted")
}

#[test]
fn the_header_is_the_c_drivers() {
    assert_eq!(encode_header(2), HEADER);
    assert_eq!(check_header(&HEADER, 2), Ok(()));
}

#[test]
fn each_header_field_that_differs_is_refused_with_its_own_reason() {
    for (at, reason) in [
        (0..8, "a stream that is not mtty's"),
        (8..16, "another version of mtty's stream"),
        (16..20, "another number of ports"),
        (20..24, "unknown flags"),
    ] {
        for at in at {
            let mut header = HEADER;
            header[at] ^= 0x40;
            let refusal = check_header(&header, 2).unwrap_err();
            assert_eq!(refusal, reason, "byte {at}");
        }
    }
    assert!(check_header(&HEADER, 1).is_err());
}

#[test]
fn a_port_in_use_arrives_with_all_its_registers_and_bytes() {
    let mut uart = decoded(&USED);
    assert_eq!([uart.read(DLL), uart.read(DLM)], [0x0c, 0x12]);
    assert_eq!(uart.read(LCR), 0x83);
    uart.write(LCR, 0x03);
    assert_eq!(
        [uart.read(IER), uart.read(MCR), uart.read(SCR)],
        [0x05, 0x0b, 0x77]
    );
    assert_eq!(uart.read(LSR), DR | OE);
    assert_eq!(
        uart.read(IIR),
        0xc0 | TIMEOUT,
        "the trigger level is FCR's, 8"
    );
    assert_eq!(drain(&mut uart), b"ef01");
}

#[test]
fn an_untouched_port_arrives_with_its_fifo_enabled_as_the_c_driver_shows_it() {
    let mut uart = decoded(&UNTOUCHED);
    assert_eq!(uart.read(IIR), 0xc0 | NO_INT);
    send(&mut uart, 0..16);
    assert_eq!(drain(&mut uart).len(), 16);
}

#[test]
fn a_port_whose_fifo_was_switched_off_arrives_with_one_byte_of_room() {
    let mut port = UNTOUCHED;
    (port[33], port[34]) = (1, 1);
    let mut uart = decoded(&port);
    send(&mut uart, [1, 2]);
    assert_eq!(drain(&mut uart), [1]);
}

#[test]
fn bytes_that_the_c_driver_kept_when_the_fifo_was_switched_off_are_delivered() {
    let mut port = USED;
    (port[32], port[33]) = (0x80, 1);
    let mut uart = decoded(&port);
    uart.write(LCR, 0);
    assert_eq!(drain(&mut uart), b"ef01");
}

#[test]
fn sixteen_bytes_that_the_c_driver_takes_for_none_are_delivered() {
    let mut port = USED;
    (port[24], port[26]) = (14, 16);
    let mut uart = decoded(&port);
    uart.write(LCR, 0);
    assert_eq!(drain(&mut uart), b"ef0123456789abcd");
}

#[test]
fn an_idle_port_arrives_with_the_interrupts_pending_that_the_format_cannot_carry() {
    let mut port = UNTOUCHED;
    port[1] = IER_THRI | IER_MSI;
    let mut uart = decoded(&port);
    assert_eq!([cause(&mut uart), cause(&mut uart)], [THRI, MSI]);
}

#[test]
fn each_port_field_that_the_c_driver_cannot_have_made_is_refused_with_its_own_reason() {
    assert_eq!(refusal_of(USED, 24, 3), "contradictory FIFO indices");
    assert_eq!(refusal_of(USED, 25, 13), "contradictory FIFO indices");
    assert_eq!(refusal_of(USED, 26, 5), "contradictory FIFO indices");
    assert_eq!(refusal_of(USED, 24, 18), "FIFO out of range");
    assert_eq!(refusal_of(USED, 25, 0xfe), "FIFO out of range");
    assert_eq!(refusal_of(USED, 26, 20), "FIFO out of range");
    assert_eq!(refusal_of(USED, 27, 0), "DLAB contradicts LCR");
    assert_eq!(refusal_of(USED, 27, 2), "DLAB contradicts LCR");
    assert_eq!(refusal_of(USED, 3, 0x03), "DLAB contradicts LCR");
    assert_eq!(refusal_of(USED, 28, 2), "a flag that is neither 0 nor 1");
    assert_eq!(refusal_of(USED, 33, 1), "FIFO size contradicts FCR");
    assert_eq!(refusal_of(USED, 33, 64), "FIFO size contradicts FCR");
    assert_eq!(refusal_of(USED, 32, 0x80), "FIFO size contradicts FCR");
    assert_eq!(refusal_of(USED, 34, 0), "trigger level contradicts FCR");
    assert_eq!(refusal_of(USED, 34, 4), "trigger level contradicts FCR");
    assert_eq!(refusal_of(USED, 34, 8), "accepted", "FCR's own level");
    assert_eq!(refusal_of(UNTOUCHED, 33, 1), "FIFO size contradicts FCR");
}

#[test]
fn a_port_is_written_as_the_c_driver_would_have_it() {
    let mut uart = decoded(&USED);
    uart.write(LCR, 0x03);
    uart.read(RBR);
    let port = encode_port(&uart.state());
    assert_eq!(port[..8], [0, 0x05, 0, 0x03, 0x0b, 0, 0, 0x77]);
    assert_eq!(port[8..24], *b"f01\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(port[24..], [3, 0, 3, 0, 1, 0, 0x0c, 0x12, 0x81, 16, 1, 0]);
}

#[test]
fn a_port_whose_fifos_are_off_is_written_with_room_for_one_byte() {
    let port = encode_port(&Uart::new().state());
    assert_eq!(port[24..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
}

/// The relevant fields of a C port, and how its driver changes them.
struct CPort([u8; PORT_LEN]);

impl CPort {
    fn waiting(&self) -> Vec<u8> {
        let [tail, count] = [self.0[25], self.0[26]].map(usize::from);
        (tail..tail + count).map(|i| self.0[8 + i % 16]).collect()
    }

    fn run(&mut self, access: Access) {
        let port = &mut self.0;
        let dlab = port[27] == 1;
        match access {
            Access::Write(DLL, value) if dlab => port[30] |= value,
            Access::Write(DLM, value) if dlab => port[31] |= value,
            Access::Write(THR, byte) => {
                port[28] = (port[26] >= port[33]).into();
                if port[28] == 0 {
                    port[8 + usize::from(port[24])] = byte;
                    port[24] = (port[24] + 1) % 16;
                    port[26] += 1;
                }
            }
            Access::Write(FCR, value) => {
                if value & FCR_CLEAR_BOTH != 0 {
                    port[24..27].fill(0);
                }
                port[33] = if value & FCR_ON != 0 { 16 } else { 1 };
                (port[32], port[34]) = (value, 1);
            }
            Access::Write(LCR, value) => {
                (port[3], port[27]) = (value, value >> 7);
                if value & DLAB != 0 {
                    port[30..32].fill(0);
                }
            }
            Access::Write(reg @ (IER | MCR | SCR), value) => port[usize::from(reg)] = value,
            Access::Read(RBR) if !dlab && port[24] != port[25] => {
                port[25] = (port[25] + 1) % 16;
                port[26] -= 1;
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_c_driver_has_is_accepted_with_all_its_bytes(accesses in traffic()) {
        let mut port = CPort(UNTOUCHED);
        for access in accesses {
            port.run(access);
            let mut uart = Uart::restore(decode_port(&port.0).unwrap());
            prop_assert!(State::decode(&uart.state().encode()).is_ok());
            uart.write(LCR, 0);
            prop_assert_eq!(drain(&mut uart), port.waiting());
        }
    }

    #[test]
    fn a_port_keeps_its_registers_and_bytes_through_the_c_format(mut uart in used_uart()) {
        let mut moved = decoded(&encode_port(&uart.state()));
        for reg in [LCR, MCR, SCR, LSR] {
            prop_assert_eq!(moved.read(reg), uart.read(reg), "register {}", reg);
        }
        for lcr in [0, DLAB] {
            for uart in [&mut uart, &mut moved] {
                uart.write(LCR, lcr);
            }
            prop_assert_eq!(moved.read(IER), uart.read(IER));
            prop_assert_eq!(moved.read(IIR) & 0xc0, uart.read(IIR) & 0xc0);
            prop_assert_eq!(drain(&mut moved), drain(&mut uart));
            prop_assert_eq!(moved.read(RBR), uart.read(RBR));
        }
    }

    #[test]
    fn an_interrupt_that_was_pending_still_is_after_the_c_format(uart in used_uart()) {
        let moved = decoded(&encode_port(&uart.state()));
        prop_assert!(moved.irq_level() || !uart.irq_level());
    }

    #[test]
    fn random_bytes_are_refused_or_give_a_port_that_works(port: [u8; PORT_LEN], accesses in traffic()) {
        if let Ok(state) = decode_port(&port) {
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
            let mut uart = Uart::restore(state);
            for access in accesses {
                access.run(&mut uart);
            }
        }
    }

    #[test]
    fn a_mutated_port_is_refused_or_gives_a_port_that_works(
        uart in used_uart(),
        at in 0..PORT_LEN,
        value: u8,
        accesses in traffic(),
    ) {
        let mut port = encode_port(&uart.state());
        port[at] = value;
        if let Ok(state) = decode_port(&port) {
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
            let mut uart = Uart::restore(state);
            for access in accesses {
                access.run(&mut uart);
            }
        }
    }
}

/// Parses a stream: 'h' for each header, 'p' for each port; or the reason of the refusal.
fn pieces(stream: &[u8]) -> Result<String, &'static str> {
    let mut reader = Reader::default();
    let mut found = String::new();
    for byte in stream {
        match reader.push(*byte, 2)? {
            None => {}
            Some(Piece::Header) => found.push('h'),
            Some(Piece::Port(_)) => found.push('p'),
        }
    }
    if !reader.is_whole() {
        found.push('.');
    }
    Ok(found)
}

#[test]
fn a_stream_is_read_as_a_header_and_ports() {
    let stream = [&HEADER[..], &USED, &UNTOUCHED].concat();
    assert_eq!(pieces(&stream), Ok("hpp".into()));
    assert_eq!(pieces(&stream[..stream.len() - 1]), Ok("hp.".into()));
}

#[test]
fn a_stream_that_begins_anew_is_told_from_a_port() {
    let once = [&HEADER[..], &USED].concat();
    let twice = [&once[..], &once, &UNTOUCHED].concat();
    assert_eq!(pieces(&twice), Ok("hphpp".into()));
    let empty = [&HEADER[..], &HEADER, &USED, &UNTOUCHED].concat();
    assert_eq!(pieces(&empty), Ok("hhpp".into()));
}

#[test]
fn a_stream_without_a_header_is_refused() {
    let reason = Err("a stream that is not mtty's");
    assert_eq!(pieces(&[&USED[..], &UNTOUCHED].concat()), reason);
    let mut other = [&HEADER[..], &HEADER].concat();
    other[24 + 16] = 9;
    assert_eq!(pieces(&other), Err("another number of ports"));
}
