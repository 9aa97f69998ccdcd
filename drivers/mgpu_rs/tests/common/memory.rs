// SPDX-License-Identifier: GPL-2.0

//! Memory that counts the writes to every byte.

use std::collections::BTreeMap;

use mgpu_model::{
    engine::SLICE,
    memory::{Fault, GuestMemory, Vram},
};

const PAGE: u64 = 4096;

/// Bytes, and the number of writes to each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub bytes: Vec<u8>,
    pub writes: Vec<u8>,
}

impl Memory {
    pub fn new(bytes: Vec<u8>) -> Self {
        Memory {
            writes: vec![0; bytes.len()],
            bytes,
        }
    }

    /// Creates memory in which no two places have the same contents.
    pub fn patterned(len: usize, seed: u32) -> Self {
        let mut x = seed | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        };
        Memory::new((0..len).map(|_| next()).collect())
    }

    pub fn put(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
        self.writes[at..at + data.len()]
            .iter_mut()
            .for_each(|count| *count = count.wrapping_add(1));
    }
}

/// VRAM. Like a slice, it panics if it is accessed out of bounds.
impl Vram for Memory {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        assert!(!data.is_empty() && data.len() <= SLICE);
        data.copy_from_slice(&self.bytes[offset as usize..][..data.len()]);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        assert!(!data.is_empty() && data.len() <= SLICE);
        self.put(offset as usize, data);
    }
}

/// One range of guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    pub memory: Memory,
    pub writable: bool,
}

/// Guest memory: ranges of pages by address, and holes between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    stretches: BTreeMap<u64, Pages>,
}

impl Guest {
    pub fn map(&mut self, iova: u64, memory: Memory) {
        assert!(iova % PAGE == 0 && memory.bytes.len() as u64 % PAGE == 0);
        let pages = Pages {
            memory,
            writable: true,
        };
        self.stretches.insert(iova, pages);
    }

    pub fn unmap(&mut self, iova: u64) -> Option<Pages> {
        self.stretches.remove(&iova)
    }

    pub fn at(&mut self, iova: u64) -> &mut Pages {
        self.stretches.get_mut(&iova).unwrap()
    }

    pub fn data(&self, iova: u64) -> &Memory {
        &self.stretches[&iova].memory
    }

    /// Returns the range that contains `iova`, the offset in it, and the number of bytes from there
    /// on.
    fn find(&mut self, iova: u64) -> Result<(&mut Pages, usize, usize), Fault> {
        let (start, pages) = self.stretches.range_mut(..=iova).next_back().ok_or(Fault)?;
        let at = usize::try_from(iova - start).map_err(|_| Fault)?;
        let left = pages.memory.bytes.len().checked_sub(at).ok_or(Fault)?;
        if left == 0 {
            return Err(Fault);
        }
        Ok((pages, at, left))
    }
}

impl GuestMemory for Guest {
    fn read(&mut self, mut iova: u64, mut data: &mut [u8]) -> Result<(), Fault> {
        assert!(!data.is_empty() && data.len() <= SLICE);
        assert!(iova.checked_add(data.len() as u64 - 1).is_some());
        while !data.is_empty() {
            let (pages, at, left) = self.find(iova)?;
            let len = left.min(data.len());
            let (now, later) = data.split_at_mut(len);
            now.copy_from_slice(&pages.memory.bytes[at..at + len]);
            data = later;
            iova = iova.wrapping_add(len as u64);
        }
        Ok(())
    }

    fn write(&mut self, mut iova: u64, mut data: &[u8]) -> Result<(), Fault> {
        assert!(!data.is_empty() && data.len() <= SLICE);
        assert!(iova.checked_add(data.len() as u64 - 1).is_some());
        while !data.is_empty() {
            let (pages, at, left) = self.find(iova)?;
            if !pages.writable {
                return Err(Fault);
            }
            let (now, later) = data.split_at(left.min(data.len()));
            pages.memory.put(at, now);
            data = later;
            iova = iova.wrapping_add(now.len() as u64);
        }
        Ok(())
    }
}
