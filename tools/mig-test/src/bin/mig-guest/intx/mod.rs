// SPDX-License-Identifier: GPL-2.0
//! The serial card in the hands of this program, through a driver of the kernel that knows nothing
//! of UARTs. The driver has only two bits of PCI to work with: Interrupt Status tells it that an
//! interrupt is the card's, and Interrupt Disable keeps the line low until the program has served
//! the card (`pci_check_and_mask_intx()` in drivers/pci/irq.c of the kernel tree).
//!
//! A round has two interrupts. The card asserts its line, and the program is told once. The program
//! enables INTx while the line is still asserted, and is told once more. Then it serves the UART,
//! which deasserts the line, and enables INTx.

mod counts;
mod uio;
mod vfio;

use std::io;
use std::str::FromStr;

use crate::pci::{self, Config, COMMAND_INTX_DISABLE, STATUS_INTERRUPT};
use crate::serial::uart::PCI_ID;
use counts::Counts;
use mig_common::message::Interrupts;

/// Interrupt enable, and its bit for the transmitter's.
const IER: u64 = 1;
const IER_THRI: u8 = 0x02;
/// Interrupt identification: the cause in its low bits, which reading takes back if it is the
/// transmitter.
const IIR: u64 = 2;
const IIR_CAUSE: u8 = 0x0f;
const IIR_THRI: u8 = 0x02;

/// What the card is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `rounds N`: go through so many rounds.
    Rounds(u64),
    /// `raise`: begin a round, up to the first interrupt.
    Raise,
    /// `finish`: do the rest of that round.
    Finish,
}

impl FromStr for Order {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Order> {
        let unknown = || io::Error::other("rounds N, raise and finish are known");
        match text.split_once(' ').unwrap_or((text, "")) {
            ("rounds", number) => number.parse().map(Order::Rounds).map_err(|_| unknown()),
            ("raise", "") => Ok(Order::Raise),
            ("finish", "") => Ok(Order::Finish),
            _ => Err(unknown()),
        }
    }
}

/// What a driver that hands a device to user space offers.
trait Handed {
    /// Reads a register of the UART.
    fn read(&self, register: u64) -> io::Result<u8>;

    /// Writes a register of the UART.
    fn write(&self, register: u64, value: u8) -> io::Result<()>;

    /// Waits for an interrupt. Returns how many there were since the last call, or 0 if none came
    /// in time.
    fn await_interrupts(&mut self) -> io::Result<u64>;

    /// Returns how many interrupts there were since the last call, without a wait.
    fn take_interrupts(&mut self) -> io::Result<u64>;

    /// Enables INTx, which the driver has disabled.
    fn enable(&self) -> io::Result<()>;
}

/// The card, handed over.
pub struct Card {
    handed: Box<dyn Handed>,
    config: Config,
    counts: Counts,
    rounds: u64,
    told: u64,
}

/// Finds the card, and hands it over to this program through a driver: `uio` or `vfio`.
pub fn start(driver: &str) -> io::Result<Card> {
    let device = pci::find(PCI_ID.0, PCI_ID.1)?;
    let handed: Box<dyn Handed> = match driver {
        "uio" => Box::new(uio::Uio::start(&device)?),
        "vfio" => Box::new(vfio::Vfio::start(&device)?),
        _ => return Err(io::Error::other("mig_intx is uio or vfio")),
    };
    Ok(Card {
        handed,
        config: Config::open(&device)?,
        counts: Counts::begin(&device)?,
        rounds: 0,
        told: 0,
    })
}

impl Card {
    /// Does what an order says, and returns the interrupts since the start.
    pub fn obey(&mut self, order: Order) -> io::Result<Interrupts> {
        let done = match order {
            Order::Rounds(count) => {
                (0..count).try_for_each(|_| self.raise().and_then(|()| self.finish()))
            }
            Order::Raise => self.raise(),
            Order::Finish => self.finish(),
        };
        self.told += self.handed.take_interrupts()?;
        let now = self.interrupts()?;
        done.map_err(|error| {
            let round = self.rounds + 1;
            io::Error::other(format!("round {round}: {error}; {now:?}"))
        })?;
        Ok(now)
    }

    fn raise(&mut self) -> io::Result<()> {
        self.ensure("before the interrupt", false, false)?;
        self.handed.write(IER, 0)?;
        self.handed.write(IER, IER_THRI)?;
        self.await_one("the UART has asserted its line")?;
        self.ensure("after the interrupt", true, true)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.handed.enable()?;
        self.await_one("INTx is enabled and the line still asserted")?;
        self.ensure("after another interrupt", true, true)?;
        let cause = self.handed.read(IIR)? & IIR_CAUSE;
        if cause != IIR_THRI {
            return Err(io::Error::other(format!("the UART's cause is {cause:#x}")));
        }
        self.ensure("with the UART served", true, false)?;
        self.handed.enable()?;
        self.ensure("with INTx enabled", false, false)?;
        self.rounds += 1;
        Ok(())
    }

    /// Waits for one interrupt, and for no other since the last one.
    fn await_one(&mut self, when: &str) -> io::Result<()> {
        let more = self.handed.await_interrupts()?;
        self.told += more;
        if more != 1 {
            let (command, status) = self.config.command_and_status()?;
            return Err(io::Error::other(format!(
                "{when}, and there are {more} interrupts and not one; \
                 command is {command:#06x}, status {status:#06x}"
            )));
        }
        Ok(())
    }

    /// Demands that the two bits are as they should be.
    fn ensure(&self, when: &str, disabled: bool, asserted: bool) -> io::Result<()> {
        let (command, status) = self.config.command_and_status()?;
        let bits = [
            (
                "Interrupt Disable",
                command & COMMAND_INTX_DISABLE,
                disabled,
            ),
            ("Interrupt Status", status & STATUS_INTERRUPT, asserted),
        ];
        for (name, bit, wanted) in bits {
            let is_set = bit != 0;
            if is_set != wanted {
                return Err(io::Error::other(format!(
                    "{when} {name} is {}, command is {command:#06x}, status {status:#06x}",
                    if is_set { "set" } else { "clear" }
                )));
            }
        }
        Ok(())
    }

    fn interrupts(&self) -> io::Result<Interrupts> {
        Ok(Interrupts {
            rounds: self.rounds,
            told: self.told,
            taken: self.counts.taken()?,
            unclaimed: self.counts.unclaimed()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_is_a_name_and_a_number_where_it_takes_one() {
        let order = |text: &str| text.parse::<Order>().ok();
        assert_eq!(order("rounds 50"), Some(Order::Rounds(50)));
        assert_eq!(order("raise"), Some(Order::Raise));
        assert_eq!(order("finish"), Some(Order::Finish));
        for unknown in ["", "rounds", "rounds x", "raise 1", "lower"] {
            assert_eq!(order(unknown), None, "{unknown}");
        }
    }
}
