// SPDX-License-Identifier: GPL-2.0
//! A program that drives the example with doorbells, another one for `--guest-program`.
//!
//! A round writes numbers to slots of each queue and rings for it, then waits until the card has
//! taken them, and compares sums and slots with its own. After some rounds a line is printed:
//! `doorbells: N rounds, M wrong`.

use std::convert::Infallible;
use std::fs;
use std::io;

use crate::memory::Memory;
use crate::pci;
use crate::round;

/// The ids of the card, as in Documentation/examples/doorbells/doorbells.rs.
const IDS: (u16, u16) = (0x4442, 0x4c4c);
const QUEUES: usize = 4;
/// Slots of a queue.
const SLOTS: usize = 256;
/// Registers, and the parts of the BAR.
const PENDING: usize = 0x44;
const TAILS: usize = 0x1000;
const SLOTS_AT: usize = 0x2000;
const SIZE: usize = 0x4000;
/// Rounds from one report to the next.
const ROUNDS: u64 = 64;

/// Returns whether the guest has the card.
pub fn is_there() -> bool {
    pci::find(IDS.0, IDS.1).is_ok()
}

/// Drives the card, for ever.
pub fn run() -> io::Result<Infallible> {
    let path = pci::find(IDS.0, IDS.1)?;
    fs::write(path.join("enable"), "1")?;
    let mut driver = Driver {
        bar: Memory::of_file(pci::bar(&path, 0)?, SIZE)?,
        tails: [0; QUEUES],
        sums: [0; QUEUES],
        slots: [0; QUEUES * SLOTS],
        rounds: 0,
        wrong: 0,
    };
    println!("doorbells: running");
    loop {
        for _ in 0..ROUNDS {
            driver.round()?;
        }
        println!(
            "doorbells: {} rounds, {} wrong",
            driver.rounds, driver.wrong
        );
    }
}

struct Driver {
    bar: Memory,
    tails: [usize; QUEUES],
    sums: [u64; QUEUES],
    slots: [u32; QUEUES * SLOTS],
    rounds: u64,
    wrong: u64,
}

impl Driver {
    fn round(&mut self) -> io::Result<()> {
        self.rounds += 1;
        for queue in 0..QUEUES {
            // A ring after each number, of which the card may hear only the last.
            for more in 0..=self.rounds as usize % 9 {
                let number = (self.rounds as u32) << 8 | more as u32;
                let slot = queue * SLOTS + self.tails[queue];
                self.bar.store(SLOTS_AT + slot * 4, number);
                self.slots[slot] = number;
                self.sums[queue] += u64::from(number);
                self.tails[queue] = (self.tails[queue] + 1) % SLOTS;
                let tail = self.tails[queue] as u32;
                self.bar.store(TAILS + queue * 4, tail);
            }
        }
        // Until the card has heard all rings.
        let pending = || self.bar.load(PENDING);
        let state = || format!("the queues {:#b} are pending", pending());
        round::wait(self.rounds, || pending() == 0, state)?;
        for queue in 0..QUEUES {
            let (found, wanted) = (self.bar.load_u64(queue * 0x10), self.sums[queue]);
            self.compare(&format!("sum of queue {queue}"), found, wanted);
        }
        let slot = self.rounds as usize % self.slots.len();
        let (found, wanted) = (self.bar.load(SLOTS_AT + slot * 4), self.slots[slot]);
        self.compare(&format!("slot {slot}"), found.into(), wanted.into());
        Ok(())
    }

    fn compare(&mut self, what: &str, found: u64, wanted: u64) {
        if found != wanted {
            self.wrong += 1;
            println!(
                "doorbells: round {}: {what} has {found:#x} instead of {wanted:#x}",
                self.rounds
            );
        }
    }
}
