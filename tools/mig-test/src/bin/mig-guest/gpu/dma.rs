// SPDX-License-Identifier: GPL-2.0
//! Guest memory with known physical addresses, for a device.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use crate::memory::{Memory, HUGE_PAGE};

/// Bytes of a page, also of those that the kernel counts huge pages in.
pub const PAGE: usize = 4096;

/// Huge pages, which the kernel keeps where they are, and their places in the guest's memory.
pub struct Dma {
    /// The memory itself.
    pub memory: Memory,
    /// Where each huge page is.
    bases: Vec<u64>,
}

impl Dma {
    /// Takes so many huge pages.
    pub fn new(pages: usize) -> io::Result<Dma> {
        fs::write("/proc/sys/vm/nr_hugepages", pages.to_string())?;
        let memory = Memory::huge(pages)?;
        let pagemap = File::open("/proc/self/pagemap")?;
        let base = |page: usize| physical(&pagemap, memory.address() + page * HUGE_PAGE);
        let bases = (0..pages).map(base).collect::<io::Result<_>>()?;
        Ok(Dma { memory, bases })
    }

    /// The device's address of a place in the memory. What follows is contiguous up to the end of
    /// the huge page.
    pub fn address(&self, offset: usize) -> u64 {
        self.bases[offset / HUGE_PAGE] + (offset % HUGE_PAGE) as u64
    }
}

/// Where a page of this process is (Documentation/admin-guide/mm/pagemap.rst in the kernel tree).
fn physical(pagemap: &File, address: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    pagemap.read_exact_at(&mut bytes, (address / PAGE * 8) as u64)?;
    let entry = u64::from_le_bytes(bytes);
    let (is_present, frame) = (entry >> 63 == 1, entry & ((1 << 55) - 1));
    if !is_present || frame == 0 {
        return Err(io::Error::other("the kernel hides where a page is"));
    }
    Ok(frame * PAGE as u64)
}
