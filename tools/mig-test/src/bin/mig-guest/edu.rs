// SPDX-License-Identifier: GPL-2.0
//! A program that drives QEMU's `edu`, or the example after it, another one for `--guest-program`.
//!
//! A round fills a page with numbers, has the card copy it into its buffer and from there to
//! another page, and compares. It also has a factorial computed. After some rounds a line is
//! printed: `edu: N rounds, M wrong`. The pages of the last rounds are kept, and checked with each
//! line, so that one that a migration loses is wrong, too.
//!
//! Specification: <https://www.qemu.org/docs/master/specs/edu.html>

use std::convert::Infallible;
use std::fs;
use std::io;

use crate::gpu::dma::{Dma, PAGE};
use crate::memory::Memory;
use crate::pci;
use crate::round::{self, number};

/// The ids of the card.
const IDS: (u16, u16) = (0x1234, 0x11e8);
const FACTORIAL: usize = 0x08;
const STATUS: usize = 0x20;
const COMPUTING: u32 = 1;
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const START: u32 = 1;
const FROM_CARD: u32 = 2;
/// The buffer, for copies.
const BUFFER: u64 = 0x40000;
/// Rounds whose pages are kept.
const KEPT: u64 = 64;
/// Rounds from one report to the next.
const ROUNDS: u64 = 2;
const WORDS: usize = PAGE / 8;

/// Returns whether the guest has the card.
pub fn is_there() -> bool {
    pci::find(IDS.0, IDS.1).is_ok()
}

/// Drives the card, for ever.
pub fn run() -> io::Result<Infallible> {
    let path = pci::find(IDS.0, IDS.1)?;
    fs::write(path.join("enable"), "1")?;
    pci::Config::open(&path)?.change_command(pci::COMMAND_MASTER, 0)?;
    let mut card = Card {
        registers: Memory::of_file(pci::bar(&path, 0)?, PAGE)?,
        guest: Dma::new(1)?,
        rounds: 0,
        wrong: 0,
    };
    println!("edu: running");
    loop {
        for _ in 0..ROUNDS {
            card.round()?;
        }
        let first = card.rounds.saturating_sub(KEPT - 1).max(1);
        for round in first..=card.rounds {
            card.check(round);
        }
        println!("edu: {} rounds, {} wrong", card.rounds, card.wrong);
    }
}

struct Card {
    registers: Memory,
    /// A page that is copied from, then the pages that are copied to.
    guest: Dma,
    rounds: u64,
    wrong: u64,
}

impl Card {
    fn round(&mut self) -> io::Result<()> {
        self.rounds += 1;
        for word in 0..WORDS {
            self.guest
                .memory
                .store_u64(word * 8, number(self.rounds, word));
        }
        let of = (self.rounds % 13) as u32;
        self.registers.store(FACTORIAL, of);
        let to = self.guest.address(place(self.rounds));
        self.copy(self.guest.address(0), BUFFER, START)?;
        self.copy(BUFFER, to, START | FROM_CARD)?;
        self.wait(STATUS, COMPUTING)?;
        if self.registers.load(FACTORIAL) != (1..=of).product::<u32>() {
            self.wrong += 1;
            println!("edu: round {}: the factorial of {of} is wrong", self.rounds);
        }
        self.check(self.rounds);
        Ok(())
    }

    fn copy(&self, source: u64, destination: u64, command: u32) -> io::Result<()> {
        self.registers.store_u64(SOURCE, source);
        self.registers.store_u64(DESTINATION, destination);
        self.registers.store_u64(COUNT, PAGE as u64);
        self.registers.store(COMMAND, command);
        self.wait(COMMAND, START)
    }

    /// Waits until a bit of a register is clear.
    fn wait(&self, register: usize, bit: u32) -> io::Result<()> {
        let value = || self.registers.load(register);
        let state = || format!("register {register:#x} is {:#x}", value());
        round::wait(self.rounds, || value() & bit == 0, state)
    }

    /// Checks the page that a round was copied to. Prints the first word that is wrong.
    fn check(&mut self, round: u64) {
        let found = |word| self.guest.memory.load_u64(place(round) + word * 8);
        let wrong = (0..WORDS).find(|word| found(*word) != number(round, *word));
        if let Some(word) = wrong {
            self.wrong += 1;
            println!(
                "edu: round {}: the page of round {round} has {:#x} instead of {:#x} at {:#x}",
                self.rounds,
                found(word),
                number(round, word),
                word * 8
            );
        }
    }
}

/// The place of the page that a round is copied to.
fn place(round: u64) -> usize {
    (1 + (round % KEPT) as usize) * PAGE
}
