// SPDX-License-Identifier: GPL-2.0
//! The expected contents of every page of guest memory and of VRAM.
//!
//! A page is filled with one 32-bit value that identifies the page and the epoch in which it was
//! written; a copy also copies the value. So the expected contents of a page are one number, and a
//! page that a migration has missed can be distinguished from a damaged one.

use mig_common::message::Checked;

use super::card::{Card, FREE};
use super::dma::PAGE;
use super::screen;
use crate::memory::{Memory, HUGE_PAGE};

/// Bits of a value that name the page; the others name the epoch.
const PAGE_BITS: u32 = 13;
/// Room for results of CRC32C, in the first page of guest memory that is no page here.
pub const SUMS: usize = 64;
/// Where they are.
const SUMS_AT: usize = FREE;
/// Where guest memory has its picture.
pub const PICTURE_AT: usize = SUMS_AT + PAGE;
/// Where guest memory has the pages.
const DATA_AT: usize = PICTURE_AT + screen::SOURCE_LEN;

/// The pages, numbered: those of guest memory, then those of VRAM.
pub struct Pages {
    /// What each holds.
    values: Vec<u32>,
    /// Those that commands in flight use.
    busy: Vec<bool>,
    /// How many of them are in guest memory.
    guest: usize,
    /// What each result of a checksum is.
    sums: [u32; SUMS],
    /// What was found.
    checked: Checked,
}

impl Pages {
    /// All pages of a card, all zero: behind what guest memory has of its own, behind the picture.
    pub fn new(card: &Card) -> Pages {
        let guest = (card.guest.memory.len() - DATA_AT) / PAGE;
        let vram = (card.vram.len() - screen::LEN) / PAGE;
        let count = (guest + vram).min(1 << PAGE_BITS);
        Pages {
            values: vec![0; count],
            busy: vec![false; count],
            guest,
            sums: [0; SUMS],
            checked: Checked::default(),
        }
    }

    /// How many there are in guest memory, and in all.
    pub fn counts(&self) -> (usize, usize) {
        (self.guest, self.values.len())
    }

    /// Whether a page is in VRAM.
    pub fn in_vram(&self, page: usize) -> bool {
        page >= self.guest
    }

    /// Where a page is in its memory.
    pub fn offset(&self, page: usize) -> usize {
        match self.in_vram(page) {
            true => screen::LEN + (page - self.guest) * PAGE,
            false => DATA_AT + page * PAGE,
        }
    }

    /// Whether the pages from `first` to `last` are of one memory and contiguous for the device.
    pub fn are_together(&self, first: usize, last: usize) -> bool {
        let stretch = |page| self.offset(page) / HUGE_PAGE;
        last < self.values.len()
            && self.in_vram(first) == self.in_vram(last)
            && (self.in_vram(first) || stretch(first) == stretch(last))
    }

    /// Whether a command in flight uses a page.
    pub fn is_busy(&self, page: usize) -> bool {
        self.busy[page]
    }

    /// Says whether a command in flight uses a page.
    pub fn set_busy(&mut self, page: usize, busy: bool) {
        self.busy[page] = busy;
    }

    /// What a page is to hold that is written in an epoch.
    pub fn stamp(page: usize, epoch: u32) -> u32 {
        epoch << PAGE_BITS | page as u32
    }

    /// What a page holds.
    pub fn value(&self, page: usize) -> u32 {
        self.values[page]
    }

    /// Takes note of what a page will hold.
    pub fn set(&mut self, page: usize, value: u32) {
        self.values[page] = value;
    }

    /// Takes note of what a result will be.
    pub fn set_sum(&mut self, slot: usize, sum: u32) {
        self.sums[slot] = sum;
    }

    /// Where a result is in guest memory.
    pub fn sum_at(slot: usize) -> usize {
        SUMS_AT + slot * 4
    }

    /// Looks at a page that no command in flight uses.
    pub fn look(&mut self, card: &Card, page: usize) {
        self.checked.looks += 1;
        let wanted = self.values[page];
        let found = value_of(memory(card, self.in_vram(page)), self.offset(page));
        if found == Some(wanted) {
            return;
        }
        let mask = (1 << PAGE_BITS) - 1;
        let name = |value: u32| format!("page {} of epoch {}", value & mask, value >> PAGE_BITS);
        let what = match found {
            Some(value) => {
                self.checked.lost += 1;
                name(value)
            }
            None => {
                self.checked.corrupt += 1;
                "different values".to_owned()
            }
        };
        let kind = if self.in_vram(page) { "VRAM" } else { "guest" };
        self.note(format!(
            "{kind} page {page} holds {what}, not {}",
            name(wanted)
        ));
    }

    /// Looks at a result whose command is done.
    pub fn look_at_sum(&mut self, card: &Card, slot: usize) {
        let (wanted, found) = (self.sums[slot], card.guest.memory.load(Self::sum_at(slot)));
        if found != wanted {
            self.checked.corrupt += 1;
            self.note(format!("checksum {slot} is {found:#x}, not {wanted:#x}"));
        }
    }

    /// Looks at everything; no command may be in flight. Returns what was found since the last
    /// time.
    pub fn check(&mut self, card: &Card) -> Checked {
        for page in 0..self.values.len() {
            self.look(card, page);
        }
        for slot in 0..SUMS {
            self.look_at_sum(card, slot);
        }
        Checked {
            pages: self.values.len() as u64,
            ..std::mem::take(&mut self.checked)
        }
    }

    fn note(&mut self, text: String) {
        self.checked.first.get_or_insert(text);
    }
}

/// One of a card's memories.
pub fn memory(card: &Card, vram: bool) -> &Memory {
    match vram {
        true => &card.vram,
        false => &card.guest.memory,
    }
}

/// What a page holds, if it is the same all over.
fn value_of(memory: &Memory, offset: usize) -> Option<u32> {
    let first = memory.load(offset);
    let pair = u64::from(first) << 32 | u64::from(first);
    let is_same = (0..PAGE)
        .step_by(8)
        .all(|at| memory.load_u64(offset + at) == pair);
    is_same.then_some(first)
}

/// Writes a page with one value.
pub fn fill(memory: &Memory, offset: usize, value: u32) {
    let pair = u64::from(value) << 32 | u64::from(value);
    (0..PAGE)
        .step_by(8)
        .for_each(|at| memory.store_u64(offset + at, pair));
}
