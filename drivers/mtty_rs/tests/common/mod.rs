// SPDX-License-Identifier: GPL-2.0

//! Shared by the tests: the data sheet's numbers, independent of the model's so that the tests
//! compare them, and random register traffic.
#![allow(dead_code)] // each test binary uses its part

use mtty_model::uart::Uart;
use proptest::prelude::*;

pub const RBR: u8 = 0;
pub const THR: u8 = 0;
pub const DLL: u8 = 0;
pub const IER: u8 = 1;
pub const DLM: u8 = 1;
pub const IIR: u8 = 2;
pub const FCR: u8 = 2;
pub const LCR: u8 = 3;
pub const MCR: u8 = 4;
pub const LSR: u8 = 5;
pub const MSR: u8 = 6;
pub const SCR: u8 = 7;

pub const IER_RDI: u8 = 0x01;
pub const IER_THRI: u8 = 0x02;
pub const IER_RLSI: u8 = 0x04;
pub const IER_MSI: u8 = 0x08;

/// IIR without the bits that say whether FIFOs are on.
pub const IIR_CAUSE: u8 = 0x3f;
pub const NO_INT: u8 = 0x01;
pub const RLSI: u8 = 0x06;
pub const RDI: u8 = 0x04;
pub const TIMEOUT: u8 = 0x0c;
pub const THRI: u8 = 0x02;
pub const MSI: u8 = 0x00;

pub const FCR_ON: u8 = 0x01;
pub const FCR_CLEAR_BOTH: u8 = 0x06;
pub const FCR_TRIGGER_14: u8 = 0xc0;

pub const DLAB: u8 = 0x80;

pub const DTR: u8 = 0x01;
pub const RTS: u8 = 0x02;
pub const OUT1: u8 = 0x04;
pub const OUT2: u8 = 0x08;
pub const LOOP: u8 = 0x10;
pub const AFE: u8 = 0x20;

pub const DR: u8 = 0x01;
pub const OE: u8 = 0x02;
/// THRE and TEMT.
pub const TX_EMPTY: u8 = 0x60;

/// Returns a port with the FIFOs on and trigger level 1.
pub fn with_fifo() -> Uart {
    let mut uart = Uart::new();
    uart.write(FCR, FCR_ON);
    uart
}

/// Sends the bytes without waiting for THRE.
pub fn send(uart: &mut Uart, bytes: impl IntoIterator<Item = u8>) {
    for byte in bytes {
        uart.write(THR, byte);
    }
}

/// Reads bytes while LSR says that there is data.
pub fn drain(uart: &mut Uart) -> Vec<u8> {
    std::iter::from_fn(|| (uart.read(LSR) & DR != 0).then(|| uart.read(RBR))).collect()
}

/// Reads the pending cause from IIR, which clears a THRI.
pub fn cause(uart: &mut Uart) -> u8 {
    uart.read(IIR) & IIR_CAUSE
}

#[derive(Clone, Copy, Debug)]
pub enum Access {
    Read(u8),
    Write(u8, u8),
}

impl Access {
    /// Performs the access, and returns what the guest sees: the value read, and the interrupt
    /// line.
    pub fn run(self, uart: &mut Uart) -> (Option<u8>, bool) {
        let value = match self {
            Self::Read(reg) => Some(uart.read(reg)),
            Self::Write(reg, value) => {
                uart.write(reg, value);
                None
            }
        };
        (value, uart.irq_level())
    }
}

/// Generates any access, with data and FIFO control frequent enough that FIFOs fill, overrun and
/// are cleared.
pub fn access() -> impl Strategy<Value = Access> {
    prop_oneof![
        3 => (0..8u8).prop_map(Access::Read),
        3 => (0..8u8, any::<u8>()).prop_map(|(reg, value)| Access::Write(reg, value)),
        6 => any::<u8>().prop_map(|byte| Access::Write(THR, byte)),
        4 => Just(Access::Read(RBR)),
        2 => Just(Access::Write(LCR, 0x03)),
        1 => Just(Access::Write(FCR, FCR_ON | 0x80)),
    ]
}

pub fn traffic() -> impl Strategy<Value = Vec<Access>> {
    prop::collection::vec(access(), 0..200)
}

/// Generates a port after some traffic.
pub fn used_uart() -> impl Strategy<Value = Uart> {
    traffic().prop_map(|accesses| {
        let mut uart = Uart::new();
        for access in accesses {
            access.run(&mut uart);
        }
        uart
    })
}
