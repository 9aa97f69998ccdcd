// SPDX-License-Identifier: GPL-2.0
//! The ioctls of <linux/vfio.h>: the only unsafe code of this program.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{self, opcode, Ioctl, IoctlOutput, Opcode};
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE};

/// Bytes behind every pointer handed to the kernel. No structure of these tests comes near it.
const ROOM: usize = 4096;

/// An ioctl's argument as it goes through the system call.
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

/// Runs an ioctl whose argument is a number or nothing.
pub fn with_value(fd: impl AsFd, number: u32, value: c_uint) -> Result<c_int> {
    let raw = Raw {
        opcode: opcode_of(number),
        argument: value as usize as *mut c_void,
    };
    // SAFETY: The callers' ioctls read the argument as a number.
    unsafe { ioctl::ioctl(fd, raw) }
}

/// Runs an ioctl whose argument is a structure that says its own length in its first four bytes. The
/// kernel's answer replaces `bytes`.
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

/// Runs an ioctl whose argument is of a fixed length, at most [`ROOM`], or a C string.
pub fn with_fixed(fd: impl AsFd, number: u32, bytes: &mut [u8]) -> Result<c_int> {
    if bytes.len() >= ROOM {
        return Err(Errno::NOMEM);
    }
    let mut room = [0u64; ROOM / 8];
    let base = room.as_mut_ptr().cast::<u8>();
    // SAFETY: `room` holds ROOM initialised bytes, is aligned for every member of the structures, and
    // `bytes` is shorter than that and lies elsewhere.
    unsafe { base.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    let raw = Raw {
        opcode: opcode_of(number),
        argument: base.cast(),
    };
    // SAFETY: The kernel reads and writes at most ROOM bytes: what the structure's first member
    // says, which `with_sized` has checked, a shorter fixed length, or up to the NUL that follows.
    let result = unsafe { ioctl::ioctl(fd, raw) };
    // SAFETY: As for the copy above, in the other direction.
    unsafe { base.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
    result
}

/// Takes over a file descriptor that the kernel has just made for this process.
pub fn take_fd(number: c_int) -> OwnedFd {
    // SAFETY: The callers pass what an ioctl has returned as a new file descriptor, once.
    unsafe { OwnedFd::from_raw_fd(number) }
}
