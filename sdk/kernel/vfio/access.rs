// SPDX-License-Identifier: GPL-2.0

//! `read()`, `write()` and `mmap()` of a VFIO device file: configuration space, BARs, and the
//! migration region.
//!
//! Errors are those of vfio-pci: EFAULT for an access to configuration space that crosses its end,
//! EINVAL for a region that does not exist or an offset beyond its end. An access that begins in a
//! BAR is cut at the end of the BAR.
//!
//! C source: [`drivers/vfio/pci/vfio_pci_core.c`](srctree/drivers/vfio/pci/vfio_pci_core.c)

use super::{
    container::{Body, Device},
    migration_v1,
};
use crate::{
    base::{param, raw},
    driver::{Context, Driver, Open, Operations},
};
use kernel::{
    error::from_result,
    page::PAGE_SIZE,
    prelude::*,
    transmute::FromBytes,
    uaccess::{UserPtr, UserSlice},
};
use mdev_model::{region, v1::REGION};

/// The target of an access.
#[derive(Clone, Copy)]
enum Target {
    Bar(usize),
    Config,
    /// The migration region, which checks its own accesses.
    Migration,
}

/// A checked access: `count` bytes at `offset` of `target`, all in bounds.
struct Access {
    target: Target,
    offset: u64,
    count: usize,
    /// The widest single access, in bytes.
    widest: usize,
}

/// Checks an access of user space. BARs are the hot path; other regions are checked last.
#[inline]
fn check(cx: &Context, pos: i64, count: usize) -> Result<Access> {
    let (index, offset) = region::split(u64::try_from(pos)?);
    let index = index as usize;
    let Some(bar) = cx.identity().bars.get(index) else {
        return check_other(cx, index, offset, count);
    };
    let remaining = bar
        .size()
        .checked_sub(offset)
        .filter(|remaining| *remaining > 0)
        .ok_or(EINVAL)?;
    Ok(Access {
        target: Target::Bar(index),
        offset,
        count: count.min(usize::try_from(remaining).unwrap_or(usize::MAX)),
        widest: bar.widest_access(),
    })
}

/// Checks an access to a region that is not a BAR.
#[cold]
fn check_other(cx: &Context, index: usize, offset: u64, count: usize) -> Result<Access> {
    let target = match index {
        _ if is_migration_region(index) => Target::Migration,
        index if index == raw::VFIO_PCI_CONFIG_REGION_INDEX as usize => {
            let size = u64::from(cx.identity().config_size);
            let remaining = size.checked_sub(offset).ok_or(EFAULT)?;
            if remaining == 0 || count as u64 > remaining {
                return Err(EFAULT);
            }
            Target::Config
        }
        _ => return Err(EINVAL),
    };
    Ok(Access {
        target,
        offset,
        count,
        widest: 4,
    })
}

/// Returns whether `index` is the migration region of protocol v1, and that is offered.
fn is_migration_region(index: usize) -> bool {
    index == REGION as usize && param::offers_v1()
}

/// Copies `width` bytes of `data` to user space.
///
/// The sizes are constants, so that the kernel checks the copies at compile time and not at each
/// call, and no writer has to know how far it has come.
#[inline]
fn put(user: UserPtr, data: &[u8; 8], width: usize) -> Result {
    let [a, b, c, d, ..] = *data;
    match width {
        1 => UserSlice::new(user, 1).writer().write(&[a]),
        2 => UserSlice::new(user, 2).writer().write(&[a, b]),
        4 => UserSlice::new(user, 4).writer().write(&[a, b, c, d]),
        _ => UserSlice::new(user, 8).writer().write(data),
    }
}

/// Copies `width` bytes from user space; see [`put`] for the sizes.
#[inline]
fn get(user: UserPtr, data: &mut [u8; 8], width: usize) -> Result {
    match width {
        1 => data[..1].copy_from_slice(&value::<[u8; 1]>(user)?),
        2 => data[..2].copy_from_slice(&value::<[u8; 2]>(user)?),
        4 => data[..4].copy_from_slice(&value::<[u8; 4]>(user)?),
        _ => *data = value(user)?,
    }
    Ok(())
}

/// Returns the value at `user`.
#[inline]
fn value<T: FromBytes>(user: UserPtr) -> Result<T> {
    UserSlice::new(user, size_of::<T>()).reader().read()
}

/// Cuts an access, whose bytes are at `user`, into single ones, calls `each(offset, user, width)`
/// for them, and returns the number of bytes.
fn cut(
    access: &Access,
    user: UserPtr,
    mut each: impl FnMut(u64, UserPtr, usize) -> Result,
) -> Result<usize> {
    let mut done = 0;
    while done < access.count {
        let offset = access.offset + done as u64;
        let width = region::access_width(offset, access.count - done, access.widest);
        each(offset, user.wrapping_byte_add(done), width)?;
        done += width;
    }
    Ok(done)
}

/// # Safety
///
/// `vdev` must be an open device of `D`, `ppos` must be the position of its file, and VFIO must be
/// the caller.
pub(super) unsafe extern "C" fn read<D: Driver>(
    vdev: *mut raw::vfio_device,
    buf: *mut c_char,
    count: usize,
    ppos: *mut i64,
) -> isize {
    from_result(|| {
        // SAFETY: The caller guarantees that `vdev` is an open device of `D`, and that `ppos` is
        // valid.
        let (body, open, pos) = unsafe {
            (
                Device::<D>::body(vdev),
                Device::<D>::open(vdev)?,
                &mut *ppos,
            )
        };
        let access = check(&open.cx, *pos, count)?;
        let user = UserPtr::from_ptr(buf.cast());
        let done = match access.target {
            Target::Migration => {
                let mut user = UserSlice::new(user, access.count).writer();
                migration_v1::read(&body.migration, open, access.offset, &mut user)?
            }
            _ => cut(&access, user, |offset, user, width| {
                let mut bytes = [0; 8];
                read_piece(open, access.target, offset, &mut bytes[..width])?;
                put(user, &bytes, width)
            })?,
        };
        *pos += done as i64;
        Ok(done as isize)
    })
}

/// Reads `data` at `offset` of configuration space or a BAR.
#[inline]
fn read_piece<O: Operations>(
    open: &Open<O>,
    target: Target,
    offset: u64,
    data: &mut [u8],
) -> Result {
    let Target::Bar(bar) = target else {
        return open.cx.read_config(offset, data);
    };
    match open.part(bar, offset) {
        Some((part, offset)) => part.read(offset, data),
        None => open.driver.read(&open.cx, bar, offset, data),
    }
}

/// # Safety
///
/// `vdev` must be an open device of `D`, `ppos` must be the position of its file, and VFIO must be
/// the caller.
pub(super) unsafe extern "C" fn write<D: Driver>(
    vdev: *mut raw::vfio_device,
    buf: *const c_char,
    count: usize,
    ppos: *mut i64,
) -> isize {
    from_result(|| {
        // SAFETY: The caller guarantees that `vdev` is an open device of `D`, and that `ppos` is
        // valid.
        let (body, open, pos) = unsafe {
            (
                Device::<D>::body(vdev),
                Device::<D>::open(vdev)?,
                &mut *ppos,
            )
        };
        let access = check(&open.cx, *pos, count)?;
        let user = UserPtr::from_ptr(buf.cast_mut().cast());
        let done = match access.target {
            Target::Migration => {
                let mut user = UserSlice::new(user, access.count).reader();
                migration_v1::write(&body.migration, open, access.offset, &mut user)?
            }
            _ => cut(&access, user, |offset, user, width| {
                let mut bytes = [0; 8];
                get(user, &mut bytes, width)?;
                write_piece(body, open, access.target, offset, &bytes[..width])
            })?,
        };
        *pos += done as i64;
        Ok(done as isize)
    })
}

/// Writes `data` at `offset` of configuration space or a BAR.
#[inline]
fn write_piece<D: Driver>(
    body: &Body<D>,
    open: &Open<D::Open>,
    target: Target,
    offset: u64,
    data: &[u8],
) -> Result {
    let Target::Bar(bar) = target else {
        return write_config(body, open, offset, data);
    };
    match open.part(bar, offset) {
        Some((part, offset)) => part.write(offset, data),
        None => open.driver.write(&open.cx, bar, offset, data),
    }
}

/// Writes `data` at `offset` of configuration space, and does what the driver has to do with it.
///
/// As vfio-pci does, a function-level reset is that of `VFIO_DEVICE_RESET`. It takes the session's
/// lock and calls the driver, so no lock is held here.
#[cold]
fn write_config<D: Driver>(
    body: &Body<D>,
    open: &Open<D::Open>,
    offset: u64,
    data: &[u8],
) -> Result {
    if open.cx.write_config(offset, data) {
        return body.migration.reset();
    }
    open.driver.config_written(&open.cx, offset, data.len());
    Ok(())
}

/// # Safety
///
/// `vdev` must be an open device of `D`, `vma` must be one that `mmap()` of its file sets up, and
/// VFIO must be the caller.
pub(super) unsafe extern "C" fn mmap<D: Driver>(
    vdev: *mut raw::vfio_device,
    vma: *mut raw::vm_area_struct,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller guarantees that `vdev` is an open device of `D`, and that `vma` is
        // valid.
        let (open, pgoff) = unsafe { (Device::<D>::open(vdev)?, (*vma).vm_pgoff) };
        let pos = (pgoff as u64).checked_mul(PAGE_SIZE as u64).ok_or(EINVAL)?;
        let (index, offset) = region::split(pos);
        let index = index as usize;
        if is_migration_region(index) {
            // SAFETY: The caller guarantees that `vma` is being set up for this file, its offset is
            // in the migration region, and the window is attached while the device is open.
            unsafe { open.cx.window.mmap(vma)? };
            return Ok(0);
        }
        let (part, _) = open.part(index, offset).ok_or(EINVAL)?;
        // SAFETY: The caller guarantees that `vma` is being set up for this file, and the part is
        // attached, and lives, while the device is open.
        unsafe { part.mmap(vma)? };
        Ok(0)
    })
}
