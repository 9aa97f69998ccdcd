// SPDX-License-Identifier: GPL-2.0
//! One port of the serial card: its tty, and the lines in flight.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use mig_common::message::Counters;
use rustix::fs::OFlags;

use super::pattern::{line, Checker, LINE};
use super::uart::Uart;
use crate::tty;

/// The line speed: slow enough to look real, fast enough that the driver keeps its FIFO trigger.
const SPEED: u32 = 9600;
/// What the first port's scratch register and divisor latch are marked with; others count up.
const MARK: (u8, u16) = (0xa5, 0x0312);

/// One UART, its tty, and the data on its way through them.
pub struct Port {
    /// Its registers.
    pub uart: Uart,
    /// Its device node.
    pub tty: File,
    /// What has gone through it.
    pub counters: Counters,
    checker: Checker,
    next_line: u32,
    window: u64,
    unsent: Vec<u8>,
    /// The interrupt setting to go back to, while bytes are held.
    held: Option<u8>,
}

impl Port {
    /// Sets a port up. At most `window` bytes are in flight.
    pub fn open(uart: Uart, index: u8, window: u64) -> io::Result<Port> {
        let tty = tty::open(&uart.node, OFlags::NONBLOCK)?;
        tty::set_raw(&tty, Some(SPEED))?;
        uart.mark(MARK.0 + index, MARK.1 + u16::from(index))?;
        Ok(Port {
            uart,
            tty,
            counters: Counters::default(),
            checker: Checker::default(),
            next_line: 0,
            window,
            unsent: Vec::new(),
            held: None,
        })
    }

    fn in_flight(&self) -> u64 {
        self.counters.written.saturating_sub(self.counters.read)
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.in_flight() == 0
    }

    /// Whether there is something to send, and room for it.
    pub fn may_send(&self) -> bool {
        !self.unsent.is_empty() && self.in_flight() < self.window
    }

    /// Sees to it that there is something to send.
    pub fn refill(&mut self) {
        if self.unsent.len() < LINE {
            self.unsent.extend_from_slice(&line(self.next_line));
            self.next_line = self.next_line.wrapping_add(1);
        }
    }

    /// Sends what there is room for.
    pub fn send(&mut self) -> io::Result<()> {
        let room = self.window.saturating_sub(self.in_flight());
        let count = self.unsent.len().min(room as usize);
        match self.tty.write(&self.unsent[..count]) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.counters.written += count as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes what has come back.
    pub fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 256];
        match self.tty.read(&mut bytes) {
            Ok(0) => Err(io::Error::other(format!(
                "{} hung up",
                self.uart.node.display()
            ))),
            Ok(count) => {
                self.checker.feed(&bytes[..count], &mut self.counters);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves the beginning of the next line unread in the card.
    pub fn hold(&mut self, count: usize) -> io::Result<()> {
        self.held = Some(self.uart.set_interrupts(0)?);
        let next = line(self.next_line);
        self.next_line = self.next_line.wrapping_add(1);
        let (now, later) = next.split_at(count.min(LINE));
        for &byte in now {
            self.uart.transmit(byte)?;
        }
        self.counters.written += now.len() as u64;
        self.unsent.extend_from_slice(later);
        Ok(())
    }

    /// Lets the driver have what was held.
    pub fn release(&mut self) -> io::Result<()> {
        match self.held.take() {
            Some(ier) => self.uart.set_interrupts(ier).map(drop),
            None => Ok(()),
        }
    }
}
