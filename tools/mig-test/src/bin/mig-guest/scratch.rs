// SPDX-License-Identifier: GPL-2.0
//! A program that drives the vendor guide's scratch card, an example of `--guest-program`.
//!
//! A round fills a page of guest memory with numbers, and has the card copy it to the next page of
//! its own memory. That page is checked before, so that no damage is overwritten unseen, and after.
//! After some rounds, all pages of the card are checked, and a line is printed: `scratch: N rounds,
//! M wrong`. A page of the card that a migration loses or changes is wrong.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;

use crate::gpu::dma::{Dma, PAGE};
use crate::memory::Memory;
use crate::pci;
use crate::round::{self, number};

/// The ids of the card, as in Documentation/examples/scratch/scratch.rs.
const IDS: (u16, u16) = (0x5343, 0x5254);
const DOORBELL: usize = 0x00;
const STATUS: usize = 0x04;
const INTERRUPT_CLEAR: usize = 0x08;
const ADDRESS: usize = 0x10;
const BUSY: u32 = 1;
const DONE: u32 = 2;
/// Pages of the card's memory.
const PAGES: usize = 16;
/// Rounds from one report to the next.
const ROUNDS: u64 = 32;
/// Words of a page.
const WORDS: usize = PAGE / 8;

/// Drives the card, for ever.
pub fn run() -> io::Result<Infallible> {
    let mut card = Card::start()?;
    println!("scratch: running");
    loop {
        for _ in 0..ROUNDS {
            card.round()?;
        }
        for page in 0..PAGES {
            card.check(page);
        }
        println!("scratch: {} rounds, {} wrong", card.rounds, card.wrong);
    }
}

struct Card {
    registers: Memory,
    /// The position of the registers in the mapping, which begins with a page.
    base: usize,
    memory: Memory,
    guest: Dma,
    /// The round that filled each page of the card; 0 if none has.
    filled: [u64; PAGES],
    rounds: u64,
    wrong: u64,
}

impl Card {
    fn start() -> io::Result<Card> {
        let path = pci::find(IDS.0, IDS.1)?;
        fs::write(path.join("enable"), "1")?;
        pci::Config::open(&path)?.change_command(pci::COMMAND_MASTER, 0)?;
        Ok(Card {
            base: place_in_page(&path)?,
            registers: Memory::of_file(pci::bar(&path, 0)?, PAGE)?,
            memory: Memory::of_file(pci::bar(&path, 1)?, PAGES * PAGE)?,
            guest: Dma::new(1)?,
            filled: [0; PAGES],
            rounds: 0,
            wrong: 0,
        })
    }

    /// Fills the next page; checks it before and after.
    fn round(&mut self) -> io::Result<()> {
        self.rounds += 1;
        let page = (self.rounds % PAGES as u64) as usize;
        self.check(page);
        // Not always the same page of guest memory.
        let from = (self.rounds % 500) as usize * PAGE;
        for word in 0..WORDS {
            let value = number(self.rounds, word);
            self.guest.memory.store_u64(from + word * 8, value);
        }
        let address = self.guest.address(from);
        self.registers.store_u64(self.base + ADDRESS, address);
        self.registers.store(self.base + DOORBELL, page as u32);
        let status = || self.registers.load(self.base + STATUS);
        let is_done = || status() & BUSY == 0 && status() != 0;
        round::wait(self.rounds, is_done, || {
            format!("STATUS is {:#x}", status())
        })?;
        let status = status();
        self.registers.store(self.base + INTERRUPT_CLEAR, 1);
        if status != DONE {
            return Err(io::Error::other(format!(
                "round {}: STATUS is {status:#x} after the copy",
                self.rounds
            )));
        }
        self.filled[page] = self.rounds;
        self.check(page);
        Ok(())
    }

    /// Checks a page of the card. Prints the first word that is wrong.
    fn check(&mut self, page: usize) {
        let filled = self.filled[page];
        let wanted = |word| if filled == 0 { 0 } else { number(filled, word) };
        let found = |word| self.memory.load_u64(page * PAGE + word * 8);
        let wrong = (0..WORDS).find_map(|word| {
            let found = found(word);
            (found != wanted(word)).then_some((word, found))
        });
        if let Some((word, found)) = wrong {
            self.wrong += 1;
            println!(
                "scratch: round {}: page {page} has {found:#x} instead of {:#x} at {:#x}",
                self.rounds,
                wanted(word),
                word * 8
            );
        }
    }
}

/// Returns the offset of BAR 0 in its page: it is smaller than a page.
fn place_in_page(device: &Path) -> io::Result<usize> {
    let text = fs::read_to_string(device.join("resource"))?;
    let start = text.split_whitespace().next().unwrap_or_default();
    let start = usize::from_str_radix(start.trim_start_matches("0x"), 16);
    Ok(start.map_err(io::Error::other)? % PAGE)
}
