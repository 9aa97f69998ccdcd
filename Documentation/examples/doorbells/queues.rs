// SPDX-License-Identifier: GPL-2.0

//! The queues of the card with doorbells, without a kernel: their state, their registers, and how
//! they take numbers.
//!
//! A guest writes numbers to a queue's slots, which are a ring, and then the number of the next
//! free slot to the queue's tail, its doorbell. The card adds the numbers up.

use mdev_model::prelude::*;

/// Number of queues.
pub const QUEUES: usize = 4;
/// Slots of a queue, of 32 bits each.
pub const SLOTS: usize = 256;
/// Bytes of a page of doorbells or of slots.
pub const PAGE: usize = 4096;

// The parts of BAR 0.
/// Doorbells: the tail of queue `q` has 32 bits at `4 * q`.
pub const TAILS_AT: u64 = 0x1000;
/// The slots of queue `q` begin at `0x400 * q`.
pub const SLOTS_AT: u64 = 0x2000;
/// Table and pending bits of MSI-X, which user space emulates.
pub const MSIX_AT: u32 = 0x3000;
/// Size of BAR 0.
pub const BAR_SIZE: u32 = 0x4000;

/// Returns whether a queue has a slot with this number.
fn is_slot(number: u32) -> bool {
    (number as usize) < SLOTS
}

record! {
    /// What a queue has taken.
    pub struct Queue {
        /// The sum of all numbers so far, modulo 2^64.
        sum: u64,
        /// The slot that is taken next.
        head: u32,
    }
}

impl Record for Queue {
    fn check(&self) -> Result<(), &'static str> {
        require(is_slot(self.head), "a head that is no slot")
    }
}

record! {
    /// All that the card has besides its two pages; zero after power-on.
    pub struct Card {
        queues: [Queue; QUEUES],
        /// A bit for each queue that has caught up with its tail, until the guest acknowledges it.
        done: u32,
    }
}

impl Record for Card {
    fn check(&self) -> Result<(), &'static str> {
        self.queues.iter().try_for_each(Record::check)?;
        require(self.done >> QUEUES == 0, "a queue that the card has not")
    }
}

/// The register that has a bit for each queue that has not caught up: 32 bits, read-only.
pub const PENDING: u64 = 0x44;

/// The other registers. What is between them reads as zero.
pub const REGISTERS: &[Register<Card>] = registers! { Card {
    0x00: u64, read |card| card.queues[0].sum;
    0x08: u32, read |card| card.queues[0].head;
    0x10: u64, read |card| card.queues[1].sum;
    0x18: u32, read |card| card.queues[1].head;
    0x20: u64, read |card| card.queues[2].sum;
    0x28: u32, read |card| card.queues[2].head;
    0x30: u64, read |card| card.queues[3].sum;
    0x38: u32, read |card| card.queues[3].head;
    // Ones acknowledge.
    0x40: u32, read |card| card.done, write |card, value| card.done &= !value;
} };

impl Card {
    /// Returns whether a queue has caught up with its tail, and the guest has not acknowledged it.
    pub fn is_done(&self, number: usize) -> bool {
        self.done >> number & 1 != 0
    }

    /// Returns a bit for each queue that has not caught up with its tail.
    pub fn pending(&self, tail: impl Fn(usize) -> u32) -> u32 {
        let behind = |(number, queue): (usize, &Queue)| {
            let tail = tail(number);
            u32::from(is_slot(tail) && tail != queue.head) << number
        };
        self.queues.iter().enumerate().map(behind).sum()
    }

    /// Takes what is in the slots of queue `number` up to `tail`, and returns whether that was
    /// anything. A tail that is no slot takes nothing.
    pub fn take(&mut self, number: usize, tail: u32, slot: impl Fn(usize) -> u32) -> bool {
        let queue = &mut self.queues[number];
        if tail == queue.head || !is_slot(tail) {
            return false;
        }
        while queue.head != tail {
            let value = slot(number * SLOTS + queue.head as usize);
            queue.sum = queue.sum.wrapping_add(value.into());
            queue.head = (queue.head + 1) % SLOTS as u32;
        }
        self.done |= 1 << number;
        true
    }
}
