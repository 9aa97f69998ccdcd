// SPDX-License-Identifier: GPL-2.0

//! `read()`, `write()` and `mmap()` of a VFIO device file: configuration space, BARs, and the migration
//! region.
//!
//! Errors are those of vfio-pci: EFAULT for configuration space beyond its end, EINVAL for a region
//! that is not there or an offset beyond its end; an access that begins inside of a BAR is cut at its
//! end.

use crate::{
    device::{Device, Opened, Slot},
    open::OpenDevice,
    param, raw, v1,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{UserPtr, UserSlice, UserSliceReader, UserSliceWriter},
};
use mdev_model::{config, region, v1::REGION};

/// Where an access goes.
enum Target {
    Config,
    Bar(usize),
}

/// A checked access: `count` bytes at `offset` of `target`, all inside of it.
struct Access {
    target: Target,
    offset: u64,
    count: usize,
    widest: usize,
}

/// The offset in the migration region that `pos` means, if it means one.
fn in_migration_region(pos: i64) -> Option<u64> {
    let (index, offset) = region::split(u64::try_from(pos).ok()?);
    (index == REGION && param::offers_v1()).then_some(offset)
}

/// A guest's accesses are to BARs: what is asked of another region is asked last.
#[inline]
fn check<T: Device>(opened: &Opened<T>, pos: i64, count: usize) -> Result<Access> {
    let (index, offset) = region::split(u64::try_from(pos)?);
    let index = index as usize;
    let Some(bar) = opened.open.dev.identity().bars.get(index) else {
        return check_config(&opened.open.dev, index, offset, count);
    };
    let left = bar
        .size()
        .checked_sub(offset)
        .filter(|left| *left > 0)
        .ok_or(EINVAL)?;
    Ok(Access {
        target: Target::Bar(index),
        offset,
        count: count.min(usize::try_from(left).unwrap_or(usize::MAX)),
        widest: bar.widest_access(),
    })
}

#[cold]
fn check_config(dev: &OpenDevice, index: usize, offset: u64, count: usize) -> Result<Access> {
    if index != raw::VFIO_PCI_CONFIG_REGION_INDEX as usize {
        return Err(EINVAL);
    }
    let size = dev.config_size() as u64;
    let left = size.checked_sub(offset).ok_or(EFAULT)?;
    if left == 0 || count as u64 > left {
        return Err(EFAULT);
    }
    Ok(Access {
        target: Target::Config,
        offset,
        count,
        widest: 4,
    })
}

/// Hands `width` bytes of `data` to user space. The sizes are spelled out because the kernel checks a
/// copy of a constant size when it is compiled, and another one each time.
#[inline]
fn put(user: &mut UserSliceWriter, data: &[u8; 8], width: usize) -> Result {
    let [a, b, c, d, ..] = *data;
    match width {
        1 => user.write(&[a]),
        2 => user.write(&[a, b]),
        4 => user.write(&[a, b, c, d]),
        _ => user.write(data),
    }
}

/// Takes `width` bytes from user space; see [`put`].
#[inline]
fn get(user: &mut UserSliceReader, data: &mut [u8; 8], width: usize) -> Result {
    match width {
        1 => data[..1].copy_from_slice(&user.read::<[u8; 1]>()?),
        2 => data[..2].copy_from_slice(&user.read::<[u8; 2]>()?),
        4 => data[..4].copy_from_slice(&user.read::<[u8; 4]>()?),
        _ => *data = user.read()?,
    }
    Ok(())
}

/// Cuts an access into single ones, `each(offset, width)`, and says how many bytes were done.
fn cut(access: &Access, mut each: impl FnMut(u64, usize) -> Result) -> Result<usize> {
    let mut done = 0;
    while done < access.count {
        let offset = access.offset + done as u64;
        let width = region::access_width(offset, access.count - done, access.widest);
        each(offset, width)?;
        done += width;
    }
    Ok(done)
}

/// # Safety
///
/// Called by VFIO: `vdev` is an open device of `T`, `ppos` the position of a file.
pub(crate) unsafe extern "C" fn read<T: Device>(
    vdev: *mut raw::vfio_device,
    buf: *mut c_char,
    count: usize,
    ppos: *mut i64,
) -> isize {
    kernel::error::from_result(|| {
        // SAFETY: By the function's contract.
        let (opened, pos) = unsafe { (Slot::<T>::opened(vdev)?, &mut *ppos) };
        let user = UserPtr::from_ptr(buf.cast());
        let access = match check(opened, *pos, count) {
            Ok(access) => access,
            Err(error) => {
                let offset = in_migration_region(*pos).ok_or(error)?;
                let mut user = UserSlice::new(user, count).writer();
                let done = v1::read(opened, offset, &mut user)?;
                *pos += done as i64;
                return Ok(done as isize);
            }
        };
        let mut user = UserSlice::new(user, access.count).writer();
        let dev = &opened.open.dev;
        let done = cut(&access, |offset, width| {
            let mut bytes = [0; 8];
            let data = &mut bytes[..width];
            match access.target {
                Target::Config => {
                    // In bounds by `check`.
                    let _ = dev.config.lock().read(offset, data);
                }
                Target::Bar(bar) => match opened.open.memory(bar) {
                    Some(memory) => memory.read(usize::try_from(offset)?, data)?,
                    None => opened.open.driver.read(dev, bar, offset, data)?,
                },
            }
            put(&mut user, &bytes, width)
        })?;
        *pos += done as i64;
        Ok(done as isize)
    })
}

/// # Safety
///
/// Called by VFIO: `vdev` is an open device of `T`, `ppos` the position of a file.
pub(crate) unsafe extern "C" fn write<T: Device>(
    vdev: *mut raw::vfio_device,
    buf: *const c_char,
    count: usize,
    ppos: *mut i64,
) -> isize {
    kernel::error::from_result(|| {
        // SAFETY: By the function's contract.
        let (opened, pos) = unsafe { (Slot::<T>::opened(vdev)?, &mut *ppos) };
        let user = UserPtr::from_ptr(buf.cast_mut().cast());
        let access = match check(opened, *pos, count) {
            Ok(access) => access,
            Err(error) => {
                let offset = in_migration_region(*pos).ok_or(error)?;
                let mut user = UserSlice::new(user, count).reader();
                let done = v1::write(opened, offset, &mut user)?;
                *pos += done as i64;
                return Ok(done as isize);
            }
        };
        let mut user = UserSlice::new(user, access.count).reader();
        let dev = &opened.open.dev;
        let done = cut(&access, |offset, width| {
            let mut bytes = [0; 8];
            get(&mut user, &mut bytes, width)?;
            let data = &bytes[..width];
            match access.target {
                Target::Config => {
                    // In bounds by `check`.
                    let _ = dev.config.lock().write(offset, data);
                    Ok(())
                }
                Target::Bar(bar) => match opened.open.memory(bar) {
                    Some(memory) => memory.write(usize::try_from(offset)?, data),
                    None => opened.open.driver.write(dev, bar, offset, data),
                },
            }
        })?;
        *pos += done as i64;
        Ok(done as isize)
    })
}

/// # Safety
///
/// Called by VFIO: `vdev` is an open device of `T`, `vma` is being made by `mmap()` of its file.
pub(crate) unsafe extern "C" fn mmap<T: Device>(
    vdev: *mut raw::vfio_device,
    vma: *mut raw::vm_area_struct,
) -> c_int {
    kernel::error::from_result(|| {
        // SAFETY: By the function's contract.
        let (opened, pgoff) = unsafe { (Slot::<T>::opened(vdev)?, (*vma).vm_pgoff) };
        let pos = (pgoff as u64).checked_mul(PAGE_SIZE as u64).ok_or(EINVAL)?;
        if in_migration_region(i64::try_from(pos)?).is_some() {
            // SAFETY: By the function's contract; the window was attached when the device was opened.
            unsafe { opened.open.dev.window.mmap(vma)? };
            return Ok(0);
        }
        let (bar, _) = region::split(pos);
        let bar = bar as usize;
        if bar >= config::BARS {
            return Err(EINVAL);
        }
        let memory = opened.open.memory(bar).ok_or(EINVAL)?;
        // SAFETY: By the function's contract; the memory was attached when the device was opened.
        unsafe { memory.mmap(vma)? };
        Ok(0)
    })
}
