// SPDX-License-Identifier: GPL-2.0

//! How the hardware of a parent finds pinned pages: the DMA addresses at which they are mapped.
//!
//! C headers: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h),
//! [`include/linux/iommu.h`](srctree/include/linux/iommu.h); `dma_direct_map_phys()` in
//! [`kernel/dma/direct.c`](srctree/kernel/dma/direct.c)

use crate::base::raw;
use core::ptr::NonNull;
use kernel::{
    device::Device, dma::DataDirection, error::to_result, page::PAGE_SIZE, prelude::*,
    scatterlist::SGTable, types::Opaque,
};

/// The parent device of an mdev, whose hardware accesses guest memory.
///
/// # Invariants
///
/// `device` is bound to its driver, and its DMA mask is set, as long as the mdev lives.
#[derive(Clone, Copy)]
pub(crate) struct DmaParent {
    device: NonNull<raw::device>,
    /// The highest address of memory that it reaches; all ones if an IOMMU translates.
    reach: u64,
}

// SAFETY: The DMA API may be called from any thread.
unsafe impl Send for DmaParent {}
// SAFETY: As for `Send`.
unsafe impl Sync for DmaParent {}

impl DmaParent {
    /// # Safety
    ///
    /// `device` must be bound to its driver, with its DMA mask set, as long as the mdev lives whose
    /// parent it is.
    pub(crate) unsafe fn new(device: &Device) -> Self {
        let device = NonNull::from(device).cast();
        // INVARIANT: As guaranteed by the caller.
        DmaParent {
            device,
            // SAFETY: The caller guarantees that the device is bound, with its mask set.
            reach: unsafe { raw::mdev_dma_reach(device.as_ptr()) },
        }
    }

    /// Returns whether `pages` can be mapped: the hardware reaches them, or the kernel can copy
    /// them to where it does, which it does below 4 GiB.
    ///
    /// To try would be worse: the kernel calls it a bug (`WARN`) if the hardware does not reach the
    /// copy either, or if there are no copies. Which pages they are is up to user space.
    ///
    /// # Safety
    ///
    /// `pages` must be pinned.
    unsafe fn reaches(&self, pages: &[*mut raw::page], max_mapping: usize) -> bool {
        let copies = max_mapping != usize::MAX && self.reach >= u64::from(u32::MAX);
        copies
            || pages.iter().all(|page| {
                // SAFETY: The caller guarantees that it is a page.
                let start = unsafe { raw::page_to_phys(*page) };
                start | (PAGE_SIZE as u64 - 1) <= self.reach
            })
    }
}

/// A mapping of pinned pages for the hardware of the parent.
///
/// # Invariants
///
/// `table` was allocated and is mapped for `parent` in `direction`.
pub(super) struct Mapping {
    table: Opaque<raw::sg_table>,
    parent: DmaParent,
    direction: DataDirection,
}

// SAFETY: The DMA API may be called from any thread, and the table never changes.
unsafe impl Send for Mapping {}
// SAFETY: As for `Send`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `pages`, from `offset` bytes into the first one on.
    ///
    /// # Errors
    ///
    /// ENOMEM; EIO if the hardware cannot reach the pages.
    ///
    /// # Safety
    ///
    /// The bytes must be within `pages`, which must be pinned until the mapping is dropped.
    pub(super) unsafe fn new(
        parent: DmaParent,
        pages: &[*mut raw::page],
        offset: usize,
        len: usize,
        direction: DataDirection,
    ) -> Result<Self> {
        let device = parent.device.as_ptr();
        // SAFETY: By its invariant the parent is a bound device.
        let (segment, mapping) = unsafe {
            (
                raw::dma_get_max_seg_size(device),
                raw::dma_max_mapping_size(device),
            )
        };
        // SAFETY: The caller guarantees that the pages are pinned.
        if !unsafe { parent.reaches(pages, mapping) } {
            return Err(EIO);
        }
        let most = segment.min(u32::try_from(mapping).unwrap_or(u32::MAX));
        let table = Opaque::<raw::sg_table>::zeroed();
        // SAFETY: `table` is valid for writes. The function only reads the pointers to pages, of
        // which there is at least one; the caller guarantees that they hold the bytes.
        to_result(unsafe {
            raw::sg_alloc_table_from_pages_segment(
                table.get(),
                pages.as_ptr().cast_mut(),
                u32::try_from(pages.len())?,
                u32::try_from(offset)?,
                len,
                most,
                raw::GFP_KERNEL_ACCOUNT,
            )
        })?;
        // SAFETY: By its invariant the parent is bound with its mask set, and `table` is allocated.
        let mapped = unsafe { raw::dma_map_sgtable(device, table.get(), direction.into(), 0) };
        if let Err(error) = to_result(mapped) {
            // SAFETY: The table was allocated above, and is not used after this.
            unsafe { raw::sg_free_table(table.get()) };
            return Err(error);
        }
        // INVARIANT: The table is allocated and mapped. It may be moved: only what it points to is
        // known to the DMA API.
        Ok(Mapping {
            table,
            parent,
            direction,
        })
    }

    /// Calls `each(address, len)` for the segments, in the order of the range.
    ///
    /// # Errors
    ///
    /// The error of `each`, at which it stops.
    pub(super) fn segments(&self, mut each: impl FnMut(u64, usize) -> Result) -> Result {
        // SAFETY: By the type invariant the table is allocated, and it does not change.
        let table = unsafe { SGTable::from_raw(self.table.get()) };
        for segment in table.iter() {
            each(segment.dma_address(), segment.dma_len() as usize)?;
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (device, table) = (self.parent.device.as_ptr(), self.table.get());
        // SAFETY: By the type invariants the table is mapped for the parent, which is bound, and
        // was allocated. It is not used after this.
        unsafe {
            raw::dma_unmap_sgtable(device, table, self.direction.into(), 0);
            raw::sg_free_table(table);
        }
    }
}
