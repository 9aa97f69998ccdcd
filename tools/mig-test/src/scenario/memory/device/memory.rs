// SPDX-License-Identifier: GPL-2.0
//! The memory behind the card's BAR 1, with a method for each call of the SDK's `DeviceMemory`.

use std::ops::Range;

use anyhow::{ensure, Result};
use rustix::io::Errno;

use crate::scenario::memory::card::{register, Card, Channel};
use crate::vfio::dma::PAGE;

/// Its bytes.
pub const SIZE: usize = register::DEVICE_SIZE;

/// The memory behind BAR 1.
pub struct Memory<'a>(Channel<'a>);

impl Memory<'_> {
    /// Returns the memory of a card.
    pub fn of(card: &Card) -> Memory<'_> {
        Memory(card.channel(0))
    }

    /// `DeviceMemory::read`.
    pub fn read(&self, offset: usize, len: usize) -> Result<Vec<u8>, Errno> {
        self.0.call(register::DEVICE_READ, 0, len, offset)?;
        self.0.take(len)
    }

    /// `DeviceMemory::write`.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.0.put(bytes)?;
        self.0.call(register::DEVICE_WRITE, 0, bytes.len(), offset)
    }

    /// Writes a byte to each of some pages.
    pub fn touch(&self, pages: &[usize]) -> Result<(), Errno> {
        let mut pages = pages.iter();
        pages.try_for_each(|page| self.write(page * PAGE + page, &[0x5a]))
    }

    /// `DeviceMemory::clear`.
    pub fn clear(&self) -> Result<(), Errno> {
        self.0.call(register::DEVICE_CLEAR, 0, 0, 0)
    }

    /// `DeviceMemory::start_tracking`.
    pub fn start_tracking(&self) -> Result<(), Errno> {
        self.0.call(register::START_TRACKING, 0, 0, 0)
    }

    /// `DeviceMemory::take_dirty`.
    pub fn take_dirty(&self, from: usize, most: usize) -> Result<Option<Range<usize>>, Errno> {
        self.0.call(register::TAKE_DIRTY, 0, most, from)?;
        let len = self.0.get(register::WALKED)? as usize;
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.take(8)?);
        let first = u64::from_le_bytes(first) as usize;
        Ok((len != 0).then_some(first..first + len))
    }

    /// Returns all remaining runs, of at most `most` bytes each.
    pub fn take_all(&self, most: usize) -> Result<Vec<Range<usize>>> {
        let (mut runs, mut from) = (Vec::new(), 0);
        while let Some(run) = self.take_dirty(from, most)? {
            ensure!(run.start >= from, "{run:x?} is before {from:#x}");
            from = run.end;
            runs.push(run);
        }
        Ok(runs)
    }

    /// `DeviceMemory::dirty_bytes`.
    pub fn dirty_bytes(&self, from: usize) -> Result<usize, Errno> {
        self.0.call(register::DIRTY_BYTES, 0, 0, from)?;
        Ok(self.0.get(register::WALKED)? as usize)
    }

    /// `DeviceMemory::used_bytes`.
    pub fn used_bytes(&self) -> Result<usize, Errno> {
        self.0.call(register::USED_BYTES, 0, 0, 0)?;
        Ok(self.0.get(register::WALKED)? as usize)
    }

    /// `StagedMemory::write` of `bytes` to the beginning of some pages, and its `commit`.
    pub fn replace(&self, bytes: &[u8], pages: &[usize]) -> Result<(), Errno> {
        self.0.put(bytes)?;
        let set = pages.iter().fold(0, |set, page| set | 1 << page);
        self.0.call(register::STAGE_AND_COMMIT, 0, bytes.len(), set)
    }
}

/// Runs of pages, in bytes.
pub fn pages(runs: impl IntoIterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let bytes = runs.into_iter().map(|run| run.start * PAGE..run.end * PAGE);
    bytes.collect()
}
