// SPDX-License-Identifier: GPL-2.0

//! The digest card, without a kernel: its registers, its state, and the requests in its ring.
//!
//! A guest puts requests into a ring in its memory, and writes the index after the last one to
//! TAIL. The card serves them in their order, and writes to each what came of it.
//!
//! | offset | register | bits | |
//! |---|---|---:|---|
//! | 0x00 | RING | 64 | IOVA of the ring; while no request is pending |
//! | 0x08 | ENTRIES | 32 | requests in the ring, up to 1024; while no request is pending |
//! | 0x0c | HEAD | 32 | index of the request that is served next, read-only |
//! | 0x10 | TAIL | 32 | index after the last request |
//! | 0x14 | PENDING | 32 | number of requests to serve, read-only |
//! | 0x18 | STATUS | 32 | DONE 1: caught up with TAIL; LOST 2: the ring is not in memory, and the card has dropped all requests. Ones acknowledge, and assert the interrupt |
//! | 0x1c | DROPPED | 32 | number of requests that were dropped, read-only; since version 2 of the format |

use mdev_model::prelude::*;

/// The most bytes of a request.
pub const DATA_MAX: usize = 4096;
const ENTRIES_MAX: u32 = 1024;

/// A request's status: the sum is that of the data.
pub const SUMMED: u32 = 1;
/// A request's status: there is no data, too much of it, or it is not in memory.
pub const FAILED: u32 = 2;

// The card's status.
const DONE: u32 = 1;
const LOST: u32 = 2;

record! {
    /// A request in the ring.
    pub struct Request {
        /// IOVA of the data.
        pub address: u64,
        /// Bytes of data.
        pub len: u32,
        /// What came of it, which the card writes last.
        pub status: u32,
        /// CRC32C of the data, which the card writes.
        pub sum: u32,
        /// Not used.
        pub reserved: u32,
    }
}

record! {
    /// All that the card has; zero after power-on.
    pub struct Card {
        ring: u64,
        entries: u32,
        head: u32,
        tail: u32,
        status: u32,
        dropped: u32,
    }
}

impl Record for Card {
    fn check(&self) -> Result<(), &'static str> {
        require(self.entries <= ENTRIES_MAX, "a ring that is too long")?;
        let indices = self.head.max(self.tail);
        require(indices < self.entries.max(1), "an index beyond the ring")?;
        require(self.status & !(DONE | LOST) == 0, "unknown bits of STATUS")
    }
}

/// The name and version of the state.
pub const FORMAT: Format = Format {
    version: 2,
    readable_by: 2,
    ..Format::first("digest")
};

/// Version 1, which is still read.
pub const OLDER: &[Older<Card>] = &[Older::of::<CardV1>(1)];

record! {
    /// The card of version 1.
    pub struct CardV1 {
        ring: u64,
        entries: u32,
        head: u32,
        tail: u32,
        status: u32,
    }
}

impl Record for CardV1 {
    fn check(&self) -> Result<(), &'static str> {
        // All that there is to check is in Card, too.
        Ok(())
    }
}

impl From<CardV1> for Card {
    fn from(old: CardV1) -> Self {
        Card {
            ring: old.ring,
            entries: old.entries,
            head: old.head,
            tail: old.tail,
            status: old.status,
            dropped: 0,
        }
    }
}

/// The registers, all of them in BAR 0.
pub const REGISTERS: &[Register<Card>] = registers! { Card {
    0x00: u64, keep ring, if Card::is_idle;
    0x08: u32, read |card| card.entries, write Card::set_entries, if Card::is_idle;
    0x0c: u32, read |card| card.head;
    0x10: u32, read |card| card.tail, write Card::set_tail;
    0x14: u32, read Card::pending;
    0x18: u32, read |card| card.status, write |card, ones| card.status &= !ones;
    0x1c: u32, read |card| card.dropped;
} };

/// Where the next request is: entry `index` of a ring of `entries` at `ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// IOVA of the ring.
    pub ring: u64,
    /// Number of entries.
    pub entries: usize,
    /// The request's index.
    pub index: usize,
}

impl Card {
    fn is_idle(&self) -> bool {
        self.head == self.tail
    }

    fn pending(&self) -> u32 {
        match self.tail.checked_sub(self.head) {
            Some(pending) => pending,
            None => self.entries - self.head + self.tail,
        }
    }

    fn set_entries(&mut self, entries: u32) {
        if entries <= ENTRIES_MAX {
            (self.entries, self.head, self.tail) = (entries, 0, 0);
        }
    }

    /// Takes requests up to a new tail, unless the ring has no such index.
    fn set_tail(&mut self, tail: u32) {
        if tail < self.entries {
            self.tail = tail;
        }
    }

    /// Returns the level of the interrupt.
    pub fn interrupt(&self) -> bool {
        self.status != 0
    }

    /// Returns where the next request is, if there is one.
    pub fn next(&self) -> Option<Next> {
        (!self.is_idle()).then_some(Next {
            ring: self.ring,
            entries: self.entries as usize,
            index: self.head as usize,
        })
    }

    /// Ends the next request; `served` is false if it could not be read or answered.
    pub fn finish(&mut self, served: bool) {
        match served {
            true => self.head = (self.head + 1) % self.entries.max(1),
            false => {
                self.dropped = self.dropped.wrapping_add(self.pending());
                self.head = self.tail;
                self.status |= LOST;
            }
        }
        if self.is_idle() {
            self.status |= DONE;
        }
    }
}
