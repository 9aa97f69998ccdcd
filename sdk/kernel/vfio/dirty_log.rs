// SPDX-License-Identifier: GPL-2.0

//! `struct vfio_log_ops`: user space starts, stops and reads the device's DMA log.
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/linux/iova_bitmap.h`](srctree/include/linux/iova_bitmap.h)

use super::container::Device;
use crate::{
    base::{raw, trace},
    driver::Driver,
    memory::{Log, LOG_IS_OFFERED},
};
use core::marker::PhantomData;
use kernel::{error::from_result, page::PAGE_SIZE, prelude::*};

/// Returns the callbacks for a device of `D`, or null if the kernel cannot use them.
pub(super) const fn ops<D: Driver>() -> *const raw::vfio_log_ops {
    if LOG_IS_OFFERED {
        &VTable::<D>::OPS
    } else {
        core::ptr::null()
    }
}

struct VTable<D: Driver>(PhantomData<D>);

impl<D: Driver> VTable<D> {
    const OPS: raw::vfio_log_ops = raw::vfio_log_ops {
        log_start: Some(Self::log_start),
        log_stop: Some(Self::log_stop),
        log_read_and_clear: Some(Self::log_read_and_clear),
    };

    /// Returns the log of an open device.
    ///
    /// # Safety
    ///
    /// `vdev` must be a device of `D`, and the caller must be a callback that VFIO runs while it is
    /// open.
    unsafe fn log<'a>(vdev: *mut raw::vfio_device) -> Result<&'a Log> {
        // SAFETY: The caller guarantees that `vdev` is a device of `D` and open during the
        // callback.
        let open = unsafe { Device::<D>::open(vdev)? };
        Ok(open.cx.memory().log())
    }

    /// Starts the log for all of guest memory.
    ///
    /// The ranges are ignored: they are a hint, and lack what user space maps later.
    ///
    /// # Safety
    ///
    /// `vdev` must be an open device of `D`, `page_size` must be valid, and VFIO must be the
    /// caller.
    unsafe extern "C" fn log_start(
        vdev: *mut raw::vfio_device,
        _ranges: *mut raw::rb_root_cached,
        _count: u32,
        page_size: *mut u64,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees that `vdev` is an open device of `D`, and that
            // `page_size` is valid.
            let (log, page_size) = unsafe { (Self::log(vdev)?, &mut *page_size) };
            // VFIO aligns the ranges to it, which works only for a power of two.
            if !page_size.is_power_of_two() {
                return Err(EINVAL);
            }
            log.start()?;
            *page_size = PAGE_SIZE as u64;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `vdev` must be an open device of `D`, and VFIO must be the caller.
    unsafe extern "C" fn log_stop(vdev: *mut raw::vfio_device) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees that `vdev` is an open device of `D`.
            unsafe { Self::log(vdev)? }.stop();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `vdev` must be an open device of `D`, `bitmap` must be valid and cover `length` bytes from
    /// `iova`, and VFIO must be the caller.
    unsafe extern "C" fn log_read_and_clear(
        vdev: *mut raw::vfio_device,
        iova: c_ulong,
        length: c_ulong,
        bitmap: *mut raw::iova_bitmap,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees that `vdev` is an open device of `D`.
            let (log, mdev) = unsafe { (Self::log(vdev)?, Device::<D>::of_mdev(vdev)) };
            let more = length.checked_sub(1).ok_or(EINVAL)?;
            let last = iova.checked_add(more).ok_or(EOVERFLOW)?;
            let page_of = |iova: usize| (iova / PAGE_SIZE) as u64;
            let mut dirty = 0;
            log.report(&(page_of(iova)..=page_of(last)), |run| {
                dirty += run.end() - run.start() + 1;
                let (run_first, run_end) = (
                    *run.start() as usize * PAGE_SIZE,
                    *run.end() as usize * PAGE_SIZE + (PAGE_SIZE - 1),
                );
                // A report of a part of a page covers that part alone: the page stays dirty for the
                // rest.
                if run_first < iova {
                    log.mark(&(*run.start()..=*run.start()));
                }
                if last < run_end {
                    log.mark(&(*run.end()..=*run.end()));
                }
                let (first, end) = (iova.max(run_first), last.min(run_end));
                // SAFETY: The caller guarantees that `bitmap` covers the range, in which `first`
                // and `end` are. The function may sleep, and no lock is held.
                unsafe { raw::mdev_iova_bitmap_set(bitmap.cast(), first, end - first + 1) };
            })?;
            trace::report(mdev, iova as u64, last as u64, dirty);
            Ok(0)
        })
    }
}
