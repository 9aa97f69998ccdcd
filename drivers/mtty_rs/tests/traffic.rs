// SPDX-License-Identifier: GPL-2.0

//! Random register traffic, compared with a reference that is only a queue.

mod common;

use std::collections::VecDeque;

use common::*;
use mtty_model::uart::Uart;
use proptest::prelude::*;

/// The data path alone, as the data sheet describes it.
#[derive(Default)]
struct Reference {
    queue: VecDeque<u8>,
    fifos_on: bool,
    divisor_access: bool,
    overrun: bool,
}

impl Reference {
    /// Returns what the access shows of the data path: a byte from RBR or a status from LSR.
    fn run(&mut self, access: Access) -> Option<u8> {
        match access {
            Access::Write(THR, byte) if !self.divisor_access => {
                if self.queue.len() < if self.fifos_on { 16 } else { 1 } {
                    self.queue.push_back(byte);
                } else {
                    self.overrun = true;
                }
                None
            }
            Access::Write(FCR, value) => {
                let on = value & 1 == 1;
                if on != self.fifos_on || value & 0b110 != 0 {
                    self.queue.clear();
                }
                self.fifos_on = on;
                None
            }
            Access::Write(LCR, value) => {
                self.divisor_access = value >= 0x80;
                None
            }
            Access::Read(RBR) if !self.divisor_access => Some(self.queue.pop_front().unwrap_or(0)),
            Access::Read(LSR) => {
                let fill = if self.queue.is_empty() { TX_EMPTY } else { DR };
                let error = if std::mem::take(&mut self.overrun) {
                    OE
                } else {
                    0
                };
                Some(fill | error)
            }
            _ => None,
        }
    }
}

proptest! {
    #[test]
    fn no_byte_is_lost_repeated_or_reordered_unless_overrun_or_cleared(accesses in traffic()) {
        let mut uart = Uart::new();
        let mut reference = Reference::default();
        for access in accesses {
            let (value, _) = access.run(&mut uart);
            if let Some(expected) = reference.run(access) {
                prop_assert_eq!(value, Some(expected), "{:?}", access);
            }
        }
        uart.write(LCR, 0);
        prop_assert_eq!(drain(&mut uart), Vec::from(reference.queue));
    }

    #[test]
    fn the_line_is_up_exactly_when_iir_shows_a_cause(mut uart in used_uart()) {
        let level = uart.irq_level();
        prop_assert_eq!(level, uart.read(IIR) & NO_INT == 0);
    }

    #[test]
    fn iir_never_shows_two_causes(mut uart in used_uart()) {
        prop_assert!([RLSI, RDI, TIMEOUT, THRI, MSI, NO_INT].contains(&cause(&mut uart)));
    }

    #[test]
    fn a_read_changes_nothing_that_another_register_would_not_show_first(mut uart in used_uart()) {
        let before = uart.state();
        for reg in [IER, LCR, MCR, SCR] {
            uart.read(reg);
        }
        prop_assert_eq!(uart.state(), before);
    }
}
