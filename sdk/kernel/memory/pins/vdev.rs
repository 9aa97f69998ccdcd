// SPDX-License-Identifier: GPL-2.0

//! The VFIO device through which guest memory is reached: pins, unpins and copies.

use super::pages::Pages;
use crate::base::raw;
use core::ptr::NonNull;
use kernel::{device::Device, error::to_result, page::PAGE_SIZE, prelude::*};
use mdev_model::paging::Span;

/// How many pages VFIO pins in one call.
pub(super) const MAX_PAGES: usize = raw::VFIO_PIN_PAGES_MAX_ENTRIES as usize;

/// The VFIO device of an mdev, whose functions may be called while it is open.
pub(super) struct Vdev(NonNull<raw::vfio_device>);

// SAFETY: VFIO's functions may be called from any thread, while the device is open.
unsafe impl Send for Vdev {}
// SAFETY: As above.
unsafe impl Sync for Vdev {}

impl Vdev {
    pub(super) fn new(vdev: NonNull<raw::vfio_device>) -> Self {
        Vdev(vdev)
    }

    /// Pins all of `span` and fills `pages`, or pins nothing of it after an error.
    ///
    /// The guest may have chosen the length, so memory is allocated for one call of VFIO at a time,
    /// after the previous one has shown that user space has mapped that much.
    ///
    /// # Safety
    ///
    /// The device must be open.
    #[inline(always)]
    pub(super) unsafe fn pin(&self, span: &Span, prot: u32, pages: &mut Pages) -> Result {
        let mut pinned = 0;
        let result = loop {
            let some = (span.pages - pinned).min(MAX_PAGES);
            if some == 0 {
                return Ok(());
            }
            let room = match pages.room(some) {
                Ok(room) => room,
                Err(error) => break error,
            };
            let (vdev, iova) = (self.0.as_ptr(), span.start + (pinned * PAGE_SIZE) as u64);
            // SAFETY: The caller guarantees that the device is open; `room` has space for `some`
            // pointers.
            let done =
                unsafe { raw::vfio_pin_pages(vdev, iova, some as c_int, prot as c_int, room) };
            let Ok(count) = usize::try_from(done) else {
                break unmapped(Error::from_errno(done));
            };
            // SAFETY: VFIO has written `count` pointers, which is at most `some`.
            unsafe { pages.fill(count.min(some)) };
            pinned += count;
            // SAFETY: VFIO has written `count` pointers to pages, which are pinned.
            let are_memory = (0..count).all(|index| unsafe { is_memory(*room.add(index)) });
            if count != some || !are_memory {
                break EFAULT;
            }
        };
        // SAFETY: The caller guarantees that the device is open; so many pages were pinned.
        unsafe { self.unpin(span.start, pinned) };
        Err(result)
    }

    /// Unpins so many pages from the IOVA `start` on.
    ///
    /// # Safety
    ///
    /// The device must be open, and the pages pinned by this device once more than unpinned.
    #[inline(always)]
    pub(super) unsafe fn unpin(&self, start: u64, pages: usize) {
        let (mut iova, mut left) = (start, pages);
        while left > 0 {
            let some = left.min(MAX_PAGES);
            // SAFETY: As guaranteed by the caller.
            unsafe { raw::vfio_unpin_pages(self.0.as_ptr(), iova, some as c_int) };
            left -= some;
            // The last page may be that at the end of the address space.
            iova = iova.wrapping_add((some * PAGE_SIZE) as u64);
        }
    }

    /// Returns the mdev's device.
    ///
    /// # Safety
    ///
    /// The mdev must live for `'a`.
    #[inline(always)]
    pub(super) unsafe fn device<'a>(&self) -> &'a Device {
        // SAFETY: VFIO sets `dev` when it allocates the device. The caller guarantees that the mdev
        // lives.
        unsafe { Device::from_raw((*self.0.as_ptr()).dev) }
    }

    /// Copies `len` bytes between `data` and guest memory at `iova`.
    ///
    /// # Safety
    ///
    /// The device must be open. `data` must be valid for reads of `len` bytes, and for writes too
    /// unless `write` is set.
    #[inline(always)]
    pub(super) unsafe fn copy(&self, iova: u64, data: *mut u8, len: usize, write: bool) -> Result {
        // SAFETY: As guaranteed by the caller.
        to_result(unsafe { raw::vfio_dma_rw(self.0.as_ptr(), iova, data.cast(), len, write) })
            .map_err(unmapped)
    }
}

/// Returns whether a page is memory. type1 also "pins" I/O memory of another device that has a
/// `struct page`: it may have no mapping in the kernel, and the pin does not hold it.
///
/// # Safety
///
/// `page` must be what VFIO has pinned.
#[inline]
unsafe fn is_memory(page: *mut raw::page) -> bool {
    // SAFETY: The caller guarantees that it is a page. Other bits may change meanwhile.
    let flags = unsafe { (&raw const (*page).flags.f).read_volatile() };
    // SAFETY: As above.
    flags & (1 << raw::pageflags_PG_reserved) == 0 || unsafe { raw::mdev_is_zero_page(page) }
}

/// Returns EINVAL for memory that is not mapped, for which iommufd has ENOENT.
fn unmapped(error: Error) -> Error {
    match error {
        ENOENT => EINVAL,
        other => other,
    }
}
