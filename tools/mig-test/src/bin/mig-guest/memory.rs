// SPDX-License-Identifier: GPL-2.0
//! Memory that a device and this program share: the only unsafe code of the guest program itself.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::ptr;

use rustix::mm::{mmap, mmap_anonymous, MapFlags, ProtFlags};

/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// A mapping that lasts as long as the program. The device may change it at any time, so there is
/// no reference into it: it is read and written word by word, each by one access of the processor,
/// in the order of the program. Offsets that are not aligned or beyond the end are mistakes, and
/// panic.
pub struct Memory {
    base: *mut u8,
    len: usize,
}

// SAFETY: The memory belongs to the value and not to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// The first `len` bytes of a file, which is a BAR.
    pub fn of_file(file: impl AsFd, len: usize) -> io::Result<Memory> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses the place, so nothing that exists is replaced.
        let base = unsafe { mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, file, 0)? };
        Ok(Memory {
            base: base.cast(),
            len,
        })
    }

    /// Fresh huge pages, all zero. They are there at once, and the kernel does not move them.
    pub fn huge(pages: usize) -> io::Result<Memory> {
        let len = pages * HUGE_PAGE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::POPULATE;
        // SAFETY: As above.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, prot, flags)? };
        Ok(Memory {
            base: base.cast(),
            len,
        })
    }

    /// Where it is, for the kernel.
    pub fn address(&self) -> usize {
        self.base as usize
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The 32 bits at `offset`.
    pub fn load(&self, offset: usize) -> u32 {
        let at = self.word(offset, 4);
        // SAFETY: Aligned and inside of the mapping, as `word` has checked; it is never unmapped.
        unsafe { at.cast::<u32>().read_volatile() }
    }

    /// Sets the 32 bits at `offset`.
    pub fn store(&self, offset: usize, value: u32) {
        let at = self.word(offset, 4);
        // SAFETY: As above.
        unsafe { at.cast::<u32>().write_volatile(value) };
    }

    /// The 64 bits at `offset`.
    pub fn load_u64(&self, offset: usize) -> u64 {
        let at = self.word(offset, 8);
        // SAFETY: As above.
        unsafe { at.cast::<u64>().read_volatile() }
    }

    /// Sets the 64 bits at `offset`.
    pub fn store_u64(&self, offset: usize, value: u64) {
        let at = self.word(offset, 8);
        // SAFETY: As above.
        unsafe { at.cast::<u64>().write_volatile(value) };
    }

    fn word(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(
            offset % len == 0 && end.is_some_and(|end| end <= self.len),
            "no word of the mapping"
        );
        // SAFETY: Inside of the mapping, which is one object of `len` bytes.
        unsafe { self.base.add(offset) }
    }
}
