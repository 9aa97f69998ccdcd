// SPDX-License-Identifier: GPL-2.0
//! The serial card: sends numbered lines through every port, and checks what is received.

mod pattern;
pub mod port;
pub mod uart;

use std::env;
use std::io;

use mig_common::message::Registers;

use pattern::LINE;
use port::Port;
use uart::Uart;

/// Bytes in flight a port unless the kernel command line says `mig_window=N`: enough that the
/// card's FIFO is filled to the brim over and over.
const WINDOW: u64 = 3 * LINE as u64;

/// Finds the card and sets its ports up; returns its registers as they were found.
pub fn start() -> io::Result<(Vec<Registers>, Vec<Port>)> {
    let uarts = uart::find()?;
    let found = uarts
        .iter()
        .map(Uart::registers)
        .collect::<io::Result<Vec<_>>>()?;
    // The kernel hands parameters it does not know to init as its environment.
    let window = env::var("mig_window")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(WINDOW);
    let ports = (0..)
        .zip(uarts)
        .map(|(index, uart)| Port::open(uart, index, window));
    Ok((found, ports.collect::<io::Result<Vec<_>>>()?))
}
