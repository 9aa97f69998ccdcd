// SPDX-License-Identifier: GPL-2.0

//! User space's mappings of a region's memory: set-up, faults and removal.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)

use crate::base::raw;
use core::{
    ops::Range,
    ptr::{self, NonNull},
};
use kernel::{page::PAGE_SIZE, prelude::*};
use mdev_model::region;

/// The mappings of a region's memory, in all processes that have the VFIO device's file.
///
/// # Invariants
///
/// `space` is the address space of the inode of a VFIO device that is open.
pub(super) struct Mapping {
    space: NonNull<raw::address_space>,
    /// File offset of the memory.
    base: u64,
}

// SAFETY: The memory manager does the locking for an `address_space`.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Creates the handle of the mappings of the memory at file offset `base`.
    ///
    /// # Safety
    ///
    /// `vdev` must be a VFIO device that is being opened, and the result must be dropped before it
    /// is closed.
    pub(super) unsafe fn new(vdev: *mut raw::vfio_device, base: u64) -> Option<Self> {
        // SAFETY: The caller guarantees that `vdev` is being opened, and VFIO gives it an inode
        // before that.
        let space = NonNull::new(unsafe { (*(*vdev).inode).i_mapping })?;
        // INVARIANT: The caller guarantees that the device is open until the result is dropped.
        Some(Mapping { space, base })
    }

    /// Removes user space's mappings of `pages`, which fault in again.
    pub(super) fn unmap(&self, pages: Range<usize>) {
        let start = self.base + (pages.start * PAGE_SIZE) as u64;
        let len = pages.len() * PAGE_SIZE;
        // SAFETY: By the type invariant the device is open, so its address space is valid.
        unsafe { raw::unmap_mapping_range(self.space.as_ptr(), start as i64, len as i64, 1) };
    }
}

/// Returns the offset in its region of page `pgoff` of a VFIO device file.
fn offset_of(pgoff: usize) -> u64 {
    region::split(pgoff as u64 * PAGE_SIZE as u64).1
}

/// Sets up `vma` as a mapping of `memory`, which is at `place` of its region.
///
/// # Errors
///
/// EINVAL if the mapping is not shared or not within `place`.
///
/// # Safety
///
/// `vma` must be one that `mmap()` of the file of an open VFIO device sets up. `memory` must live
/// until that device is closed, and `ops` must be for mappings of a `T` at `place`.
pub(super) unsafe fn show<T>(
    vma: *mut raw::vm_area_struct,
    memory: &T,
    place: Range<u64>,
    flags: raw::vm_flags_t,
    ops: &'static raw::vm_operations_struct,
) -> Result {
    // SAFETY: The caller guarantees that `vma` is being set up, so nothing else uses it. `vma`
    // holds the file and that keeps the device open, so `memory` outlives every fault.
    unsafe {
        if (*vma).__bindgen_anon_2.vm_flags & raw::VM_SHARED == 0 {
            return Err(EINVAL);
        }
        let start = offset_of((*vma).vm_pgoff);
        let bounds = (*vma).__bindgen_anon_1.__bindgen_anon_1;
        let end = start + (bounds.vm_end - bounds.vm_start) as u64;
        if start < place.start || end > place.end {
            return Err(EINVAL);
        }
        raw::vm_flags_set(vma, raw::VM_DONTEXPAND | raw::VM_DONTDUMP | flags);
        (*vma).vm_private_data = ptr::from_ref(memory).cast_mut().cast();
        (*vma).vm_ops = ops;
    }
    Ok(())
}

/// Returns the memory of a fault, and the offset of the faulting page in its region.
///
/// # Safety
///
/// `vmf` must be a fault in a mapping that [`show`] set up for a `T`.
pub(super) unsafe fn faulting<'a, T>(vmf: *mut raw::vm_fault) -> (&'a T, u64) {
    // SAFETY: The caller guarantees that `show` set up the mapping, so its private data is a `T`
    // that lives as long as the mapping.
    unsafe {
        let info = (*vmf).__bindgen_anon_1;
        (&*(*info.vma).vm_private_data.cast(), offset_of(info.pgoff))
    }
}
