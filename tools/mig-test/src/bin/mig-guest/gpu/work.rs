// SPDX-License-Identifier: GPL-2.0
//! Random work that can be checked: batches of commands, with concurrent writes of the processor.
//!
//! A batch is an epoch. Its commands are for all rings of the card. The pages of a command in
//! flight are not used otherwise; every other page is checked before it is used again, so that no
//! later write hides a lost page.

use std::io;

use crc32c::crc32c_append;
use mgpu_model::uapi::{flag, opcode};
use mig_common::command::Command;
use mig_common::random::Random;

use super::card::Card;
use super::dma::PAGE;
use super::pages::{fill, Pages, SUMS};

/// The most pages that are written by one command.
const RUN: usize = 16;
/// The most pages of a checksum.
const SUMMED: usize = 3;
/// Pages of VRAM that are written once; each batch begins with their checksum, which keeps a ring
/// busy while the processor writes. And the slot of that checksum.
const STILL: (usize, usize) = (256, SUMS - 1);
/// The most rows of a BLIT, of a page each, and pages from one to the next.
const BLIT: (usize, usize) = (8, 4);
/// Commands of a batch when every page is written.
const FIRST: usize = 200;
/// Attempts to find pages that nobody uses.
const ATTEMPTS: usize = 8;

/// What the work is like; it follows from a seed.
pub struct Plan {
    random: Random,
    /// Commands of a batch.
    commands: usize,
    /// The most pages that a command writes.
    run: usize,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        Plan {
            commands: 4 + random.below(12),
            run: random.size(RUN),
            random,
        }
    }
}

/// A batch that is being made: what it uses, and what it must have come to.
#[derive(Default)]
struct Batch {
    commands: Vec<Command>,
    pages: Vec<usize>,
    sums: Vec<usize>,
}

/// The card at work.
pub struct Work {
    /// The card.
    pub card: Card,
    /// Its pages.
    pub pages: Pages,
    /// Batches so far, which is the value of the last fence of each ring.
    batches: u64,
    /// Names the values that are being written.
    epoch: u32,
    /// Commands so far.
    commands: u64,
    next_sum: usize,
    /// The checksum of the pages that are written once.
    still: Command,
}

impl Work {
    /// Writes every page once; no work yet.
    pub fn start(card: Card) -> io::Result<Work> {
        let mut work = Work {
            pages: Pages::new(&card),
            card,
            batches: 0,
            epoch: 0,
            commands: 0,
            next_sum: 0,
            still: Command::default(),
        };
        work.fill_all()?;
        let (_, count) = work.pages.counts();
        let still: Vec<usize> = (count - STILL.0..count).collect();
        for &page in &still {
            work.pages.set_busy(page, true);
        }
        work.still = work.sum(&still, STILL.1);
        Ok(work)
    }

    /// Batches and commands so far.
    pub fn done(&self) -> (u64, u64) {
        (self.batches, self.commands)
    }

    fn fill_all(&mut self) -> io::Result<()> {
        let (_, count) = self.pages.counts();
        for first in (0..count).step_by(FIRST) {
            let mut batch = Batch::default();
            for page in first..count.min(first + FIRST) {
                self.fill(&mut batch, page, None);
            }
            self.execute(&batch.commands)?;
        }
        Ok(())
    }

    /// Gives the card a batch of work, writes to VRAM meanwhile, and waits until both is done.
    pub fn batch(&mut self, plan: &mut Plan) -> io::Result<()> {
        self.epoch += 1;
        let mut batch = Batch {
            commands: vec![self.still],
            sums: vec![STILL.1],
            pages: Vec::new(),
        };
        let Plan {
            random,
            commands,
            run,
        } = plan;
        for _ in 0..*commands {
            match random.below(5) {
                0 => self.draft_fill(&mut batch, random, *run),
                1 | 2 => self.draft_copy(&mut batch, random, *run),
                3 => self.draft_blit(&mut batch, random),
                _ => self.draft_sum(&mut batch, random),
            }
        }
        let fence = self.submit(&batch.commands);
        for _ in 0..*commands / 4 {
            self.write_vram(&mut batch, random, *run);
        }
        self.card.await_fences(fence)?;
        for page in batch.pages {
            self.pages.set_busy(page, false);
        }
        for slot in batch.sums {
            self.pages.look_at_sum(&self.card, slot);
        }
        self.card.ensure_well()
    }

    /// Has the card execute commands of the caller's own, which do not use the same memory.
    pub fn execute(&mut self, commands: &[Command]) -> io::Result<()> {
        let fence = self.submit(commands);
        self.card.await_fences(fence)?;
        self.card.ensure_well()
    }

    fn submit(&mut self, commands: &[Command]) -> u64 {
        self.batches += 1;
        self.commands += commands.len() as u64;
        self.card.submit(commands, self.batches);
        self.batches
    }

    fn draft_fill(&mut self, batch: &mut Batch, random: &mut Random, run: usize) {
        let count = random.size(run);
        for page in self.claim(batch, random, count, 1, None) {
            // Shorter pieces are written in another way.
            let cut = random.coin().then(|| 4 * (1 + random.below(PAGE / 4 - 1)));
            self.fill(batch, page, cut);
        }
    }

    fn fill(&mut self, batch: &mut Batch, page: usize, cut: Option<usize>) {
        let value = Pages::stamp(page, self.epoch);
        self.pages.set(page, value);
        let (flags, dst) = (self.flag(page, flag::DST_VRAM), self.address(page));
        let piece = |from: usize, to: usize| Command {
            opcode: opcode::FILL,
            flags,
            dst: dst + from as u64,
            length: (to - from) as u32,
            value: value.into(),
            ..Command::default()
        };
        match cut {
            Some(cut) => batch.commands.extend([piece(0, cut), piece(cut, PAGE)]),
            None => batch.commands.push(piece(0, PAGE)),
        }
    }

    fn draft_copy(&mut self, batch: &mut Batch, random: &mut Random, run: usize) {
        let count = random.size(run);
        let src = self.claim(batch, random, count, 1, None);
        let dst = self.claim(batch, random, src.len(), 1, None);
        if let (Some(&from), Some(&to)) = (src.first(), dst.first()) {
            let command = Command {
                opcode: opcode::COPY,
                length: (count * PAGE) as u32,
                ..self.between(to, from)
            };
            self.copied(batch, command, &dst, &src);
        }
    }

    fn draft_blit(&mut self, batch: &mut Batch, random: &mut Random) {
        let height = random.size(BLIT.0);
        // One stride for both: where both sides are interleaved, that is demanded.
        let stride = random.size(BLIT.1);
        let src = self.claim(batch, random, height, stride, None);
        let dst = self.claim(batch, random, src.len(), stride, None);
        if let (Some(&from), Some(&to)) = (src.first(), dst.first()) {
            let command = Command {
                opcode: opcode::BLIT,
                length: PAGE as u32,
                height: height as u32,
                dst_stride: (stride * PAGE) as u32,
                src_stride: (stride * PAGE) as u32,
                ..self.between(to, from)
            };
            self.copied(batch, command, &dst, &src);
        }
    }

    fn copied(&mut self, batch: &mut Batch, command: Command, dst: &[usize], src: &[usize]) {
        batch.commands.push(command);
        for (&to, &from) in dst.iter().zip(src) {
            self.pages.set(to, self.pages.value(from));
        }
    }

    fn draft_sum(&mut self, batch: &mut Batch, random: &mut Random) {
        let count = random.size(SUMMED);
        let src = self.claim(batch, random, count, 1, None);
        if src.is_empty() {
            return;
        }
        let slot = self.next_sum;
        self.next_sum = (slot + 1) % STILL.1;
        batch.commands.push(self.sum(&src, slot));
        batch.sums.push(slot);
    }

    /// The command that writes the checksum of contiguous pages, which are as they will be, to a
    /// slot.
    fn sum(&mut self, pages: &[usize], slot: usize) -> Command {
        let page = |&page: &usize| self.pages.value(page).to_le_bytes().repeat(PAGE / 4);
        let contents = pages.iter().map(page);
        let sum = contents.fold(0, |sum, page| crc32c_append(sum, &page));
        self.pages.set_sum(slot, sum);
        Command {
            opcode: opcode::CRC32C,
            flags: self.flag(pages[0], flag::SRC_VRAM),
            src: self.address(pages[0]),
            dst: self.card.guest.address(Pages::sum_at(slot)),
            length: (pages.len() * PAGE) as u32,
            ..Command::default()
        }
    }

    /// The processor writes to VRAM by itself.
    fn write_vram(&mut self, batch: &mut Batch, random: &mut Random, run: usize) {
        let count = random.size(run);
        for page in self.claim(batch, random, count, 1, Some(true)) {
            let value = Pages::stamp(page, self.epoch);
            fill(&self.card.vram, self.pages.offset(page), value);
            self.pages.set(page, value);
        }
    }

    /// Finds pages that are `stride` apart and that nobody uses, looks at them and lets `batch`
    /// have them. None if there is no room.
    fn claim(
        &mut self,
        batch: &mut Batch,
        random: &mut Random,
        count: usize,
        stride: usize,
        vram: Option<bool>,
    ) -> Vec<usize> {
        let (guest, all) = self.pages.counts();
        for _ in 0..ATTEMPTS {
            let first = match vram.unwrap_or_else(|| random.coin()) {
                true => guest + random.below(all - guest),
                false => random.below(guest),
            };
            let found: Vec<usize> = (0..count).map(|i| first + i * stride).collect();
            let Some(&last) = found.last() else {
                break;
            };
            let is_free = self.pages.are_together(first, last)
                && !found.iter().any(|&page| self.pages.is_busy(page));
            if is_free {
                for &page in &found {
                    self.pages.look(&self.card, page);
                    self.pages.set_busy(page, true);
                }
                batch.pages.extend(&found);
                return found;
            }
        }
        Vec::new()
    }

    fn address(&self, page: usize) -> u64 {
        let offset = self.pages.offset(page);
        match self.pages.in_vram(page) {
            true => offset as u64,
            false => self.card.guest.address(offset),
        }
    }

    /// A flag that says of an address that it is in VRAM.
    fn flag(&self, page: usize, flag: u32) -> u32 {
        match self.pages.in_vram(page) {
            true => flag,
            false => 0,
        }
    }

    /// The places of a copy.
    fn between(&self, to: usize, from: usize) -> Command {
        Command {
            flags: self.flag(to, flag::DST_VRAM) | self.flag(from, flag::SRC_VRAM),
            dst: self.address(to),
            src: self.address(from),
            ..Command::default()
        }
    }
}
