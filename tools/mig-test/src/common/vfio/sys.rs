// SPDX-License-Identifier: GPL-2.0
//! The ioctls of <linux/vfio.h> and <linux/userfaultfd.h>, and memory shared with the kernel: the
//! only unsafe code of this crate and of `mig-test`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;

use linux_raw_sys::general::UFFDIO;
use rustix::io::{Errno, Result};
use rustix::ioctl::{self, opcode, Direction, Ioctl, IoctlOutput, Opcode};
use rustix::mm::{
    madvise, mmap, mmap_anonymous, munmap, Advice, MapFlags, ProtFlags, UserfaultfdFlags,
};
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE};

/// The size in bytes of the buffer behind every pointer that is passed to the kernel. The largest
/// structure of these tests, eventfds of 2,048 vectors, has half of that.
const ROOM: usize = 16 << 10;

/// An ioctl's argument in the system call.
struct Raw {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: The opcode and the pointer are passed on as they are; `output` takes the plain result.
unsafe impl Ioctl for Raw {
    type Output = c_int;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<c_int> {
        Ok(out)
    }
}

fn opcode_of(number: u32) -> Opcode {
    opcode::none(VFIO_TYPE, (VFIO_BASE + number) as u8)
}

/// Calls an ioctl whose argument is a number or nothing.
pub fn with_value(fd: impl AsFd, number: u32, value: c_uint) -> Result<c_int> {
    let raw = Raw {
        opcode: opcode_of(number),
        argument: value as usize as *mut c_void,
    };
    // SAFETY: The callers' ioctls read the argument as a number.
    unsafe { ioctl::ioctl(fd, raw) }
}

/// Calls an ioctl whose argument is a structure that has its own length in its first four bytes.
/// The kernel's answer replaces `bytes`.
pub fn with_sized(fd: impl AsFd, number: u32, bytes: &mut [u8]) -> Result<c_int> {
    // A claim to more than there is room for does not get to the kernel.
    let claim = bytes
        .first_chunk()
        .map_or(0, |argsz| u32::from_ne_bytes(*argsz) as usize);
    if claim > ROOM {
        return Err(Errno::NOMEM);
    }
    with_fixed(fd, number, bytes)
}

/// Calls an ioctl whose argument has a fixed length, at most [`ROOM`], or is a C string.
pub fn with_fixed(fd: impl AsFd, number: u32, bytes: &mut [u8]) -> Result<c_int> {
    with_opcode(fd, opcode_of(number), bytes)
}

/// Calls an ioctl of a userfaultfd, whose number is one of `_UFFDIO_*`; its argument is all of
/// `bytes`.
pub fn userfault(fd: impl AsFd, number: u32, bytes: &mut [u8]) -> Result<c_int> {
    let (group, number) = (UFFDIO as u8, number as u8);
    let opcode = opcode::from_components(Direction::ReadWrite, group, number, bytes.len());
    with_opcode(fd, opcode, bytes)
}

fn with_opcode(fd: impl AsFd, opcode: Opcode, bytes: &mut [u8]) -> Result<c_int> {
    if bytes.len() >= ROOM {
        return Err(Errno::NOMEM);
    }
    let mut room = [0u64; ROOM / 8];
    let base = room.as_mut_ptr().cast::<u8>();
    // SAFETY: `room` holds ROOM initialised bytes, is aligned for every member of the structures,
    // and `bytes` is shorter than that and lies elsewhere.
    unsafe { base.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    let raw = Raw {
        opcode,
        argument: base.cast(),
    };
    // SAFETY: The kernel reads and writes at most ROOM bytes: what the structure's first member
    // says, which `with_sized` has checked, a shorter fixed length, or up to the NUL that follows.
    let result = unsafe { ioctl::ioctl(fd, raw) };
    // SAFETY: As for the copy above, in the other direction.
    unsafe { base.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
    result
}

/// Takes ownership of a file descriptor that the kernel has just made for this process.
pub fn take_fd(number: c_int) -> OwnedFd {
    // SAFETY: The callers pass what an ioctl has returned as a new file descriptor, once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Opens a userfaultfd, which also reports page faults of the kernel. It is non-blocking, because
/// only then can it be polled.
pub fn new_userfault() -> Result<OwnedFd> {
    let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
    // SAFETY: The file is used with mappings to which nobody has a reference.
    unsafe { rustix::mm::userfaultfd(flags) }
}

/// Memory that is shared with a device, by a mapping of the device's file or by its address. The
/// device may change it at any time, so it is only copied, never referenced.
pub struct Mapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: The memory belongs to the value and not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: Nobody has a reference into it; a copy that races with a write carries some bytes of
// either.
unsafe impl Sync for Mapping {}

#[allow(clippy::len_without_is_empty)] // The kernel maps no empty range.
impl Mapping {
    /// Allocates zeroed memory.
    pub fn anonymous(len: usize) -> Result<Mapping> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The kernel chooses the place, so nothing that exists is replaced.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::SHARED)? };
        Ok(Mapping {
            base: base.cast(),
            len,
        })
    }

    /// Maps a part of a file.
    pub fn of_file(fd: impl AsFd, offset: u64, len: usize) -> Result<Mapping> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: As above.
        let base = unsafe { mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, fd, offset)? };
        Ok(Mapping {
            base: base.cast(),
            len,
        })
    }

    /// Returns its address, for the kernel.
    pub fn address(&self) -> u64 {
        self.base as u64
    }

    /// Returns its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies from `offset`. Panics if the range is beyond the end.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.check(offset, bytes.len());
        // SAFETY: Inside of the mapping, which lives as long as the value. `bytes` is elsewhere.
        unsafe { ptr::copy_nonoverlapping(self.base.add(offset), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Returns whether the `len` bytes at `offset` are zero; both are multiples of 32. Panics as
    /// [`read`](Self::read) does.
    pub fn is_zero(&self, offset: usize, len: usize) -> bool {
        self.check(offset, len);
        assert!((offset | len) % 32 == 0, "no four words");
        let word = |at: usize| {
            // SAFETY: Inside of the mapping, which lives as long as the value and begins with a
            // page. Others may write meanwhile.
            unsafe { self.base.add(at).cast::<u64>().read_volatile() }
        };
        // A loop, because it is built with few optimizations, and memories are large.
        let mut at = offset;
        while at < offset + len {
            if word(at) | word(at + 8) | word(at + 16) | word(at + 24) != 0 {
                return false;
            }
            at += 32;
        }
        true
    }

    /// Copies to `offset`. Panics as [`read`](Self::read) does.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: As above.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset), bytes.len()) };
    }

    /// Frees the pages, so that they are missing: the next access gets new ones.
    pub fn discard(&self) -> Result<()> {
        // SAFETY: The value's own mapping, of which nobody has a reference to what it contains.
        unsafe { madvise(self.base.cast(), self.len, Advice::LinuxRemove) }
    }

    /// Maps all pages for reading, so that no read faults. EINVAL for I/O memory.
    pub fn populate(&self) -> Result<()> {
        // SAFETY: As above.
        unsafe { madvise(self.base.cast(), self.len, Advice::LinuxPopulateRead) }
    }

    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "beyond the mapping's end"
        );
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The value's own mapping, to which nothing refers any more. Failing leaves it
        // there.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
