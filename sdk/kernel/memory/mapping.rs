// SPDX-License-Identifier: GPL-2.0

//! Memory of a region as user space maps it: how a mapping is set up and taken away.
//!
//! C headers: `include/linux/mm.h`, `include/linux/mm_types.h`

use crate::base::raw;
use core::{
    ops::Range,
    ptr::{self, NonNull},
};
use kernel::{page::PAGE_SIZE, prelude::*};
use mdev_model::{
    paging::{self, Piece},
    region,
};

/// Where user space can have the memory of a region mapped: in any process that has the VFIO
/// device's file.
///
/// # Invariants
///
/// The VFIO device is open.
pub(super) struct Mapping {
    space: NonNull<raw::address_space>,
    /// File offset of the memory.
    base: u64,
}

// SAFETY: The memory manager locks an `address_space` by itself.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The mappings of what begins at file offset `base`.
    ///
    /// # Safety
    ///
    /// `vdev` is a VFIO device that is being opened; the result is dropped before it is closed.
    pub(crate) unsafe fn new(vdev: *mut raw::vfio_device, base: u64) -> Option<Self> {
        // SAFETY: VFIO gives a device its inode before it can be opened.
        let space = NonNull::new(unsafe { (*(*vdev).inode).i_mapping })?;
        // INVARIANT: By the function's contract.
        Some(Mapping { space, base })
    }

    /// Takes user space's mappings of `pages` away; they fault in again.
    pub(crate) fn unmap(&self, pages: Range<usize>) {
        let start = self.base + (pages.start * PAGE_SIZE) as u64;
        let len = pages.len() * PAGE_SIZE;
        // SAFETY: By the type invariant.
        unsafe { raw::unmap_mapping_range(self.space.as_ptr(), start as i64, len as i64, 1) };
    }
}

/// The offset in its region of page `pgoff` of a VFIO device file.
fn offset_of(pgoff: usize) -> u64 {
    region::split(pgoff as u64 * PAGE_SIZE as u64).1
}

/// Lets `vma` show `memory`, which is at `place` of its region, by `ops`. EINVAL unless the mapping
/// is shared and inside of that place.
///
/// # Safety
///
/// `vma` is being made, by `mmap()` of the file of an open VFIO device. `memory` lives until that
/// is closed, and `ops` are for mappings of a `T` at `place`.
pub(crate) unsafe fn show<T>(
    vma: *mut raw::vm_area_struct,
    memory: &T,
    place: Range<u64>,
    flags: raw::vm_flags_t,
    ops: &'static raw::vm_operations_struct,
) -> Result {
    // SAFETY: By the function's contract `vma` is ours to set up. It holds the file, which holds
    // the device open: the pointer outlives every fault.
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

/// The memory that `vmf` is about, and the offset of the page in its region.
///
/// # Safety
///
/// `vmf` is a fault in a mapping that [`show`] set up for a `T`.
pub(super) unsafe fn faulting<'a, T>(vmf: *mut raw::vm_fault) -> (&'a T, u64) {
    // SAFETY: By the function's contract; see `show` for the pointer.
    unsafe {
        let info = (*vmf).__bindgen_anon_1;
        (&*(*info.vma).vm_private_data.cast(), offset_of(info.pgoff))
    }
}

/// Copies `piece` of a range of bytes from `page`, which it is in, into `data`, which holds the
/// range.
///
/// User space, or another thread of the kernel, may write the page meanwhile: the kernel's own copy
/// allows that, and the bytes have no meaning to the kernel.
///
/// # Safety
///
/// `page` must not be freed during the call.
#[inline]
pub(super) unsafe fn copy_from_page(page: *mut raw::page, piece: &Piece, data: &mut [u8]) {
    let data = &mut data[piece.bytes.clone()];
    // SAFETY: By the function's contract, and a piece is inside of one page.
    unsafe { raw::memcpy_from_page(data.as_mut_ptr().cast(), page, piece.offset, data.len()) };
}

/// Copies `piece` of a range of bytes, which `data` holds, to `page`; for races see
/// [`copy_from_page`].
///
/// # Safety
///
/// As of [`copy_from_page`].
#[inline]
pub(super) unsafe fn copy_to_page(page: *mut raw::page, piece: &Piece, data: &[u8]) {
    let data = &data[piece.bytes.clone()];
    // SAFETY: By the function's contract, and a piece is inside of one page.
    unsafe { raw::memcpy_to_page(page, piece.offset, data.as_ptr().cast(), data.len()) };
}

/// Calls `each` for the pieces of the `len` bytes at `offset`, until one fails.
pub(super) fn in_pages(offset: usize, len: usize, each: impl FnMut(Piece) -> Result) -> Result {
    paging::pieces(PAGE_SIZE, offset, len).try_for_each(each)
}
