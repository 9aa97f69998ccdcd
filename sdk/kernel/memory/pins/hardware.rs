// SPDX-License-Identifier: GPL-2.0

//! What a pinned range is to hardware: how the hardware is stopped, and at which addresses of its
//! own it finds the range.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use super::super::dirty_log;
use super::{pages::Pages, range::Range, Pins};
use crate::base::{raw, trace};
use core::ptr::NonNull;
use kernel::{
    device::Device, dma::DataDirection, error::to_result, page::PAGE_SIZE, prelude::*,
    scatterlist::SGTable, sync::Arc, types::Opaque,
};

/// The parent device of an mdev, whose hardware accesses guest memory.
///
/// # Invariants
///
/// The device is bound to its driver, and its DMA mask is set, as long as the mdev lives.
#[derive(Clone, Copy)]
pub(crate) struct DmaParent(NonNull<raw::device>);

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
        // INVARIANT: As guaranteed by the caller.
        DmaParent(NonNull::from(device).cast())
    }
}

/// A mapping of pinned pages for the hardware of the parent.
///
/// # Invariants
///
/// `table` was allocated and is mapped for `parent` in `direction`.
struct Mapping {
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
    unsafe fn new(
        parent: DmaParent,
        pages: &[*mut raw::page],
        offset: usize,
        len: usize,
        direction: DataDirection,
    ) -> Result<Self> {
        let device = parent.0.as_ptr();
        // SAFETY: By its invariant the parent is a bound device.
        let (segment, mapping) = unsafe {
            (
                raw::dma_get_max_seg_size(device),
                raw::dma_max_mapping_size(device),
            )
        };
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
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (device, table) = (self.parent.0.as_ptr(), self.table.get());
        // SAFETY: By the type invariants the table is mapped for the parent, which is bound, and
        // was allocated. It is not used after this.
        unsafe {
            raw::dma_unmap_sgtable(device, table, self.direction.into(), 0);
            raw::sg_free_table(table);
        }
    }
}

/// The hardware that uses a range.
pub(crate) struct Hardware {
    /// Stops it, before user space takes the range away.
    stop: KBox<dyn Fn() + Send + Sync>,
    mapping: Option<KBox<Mapping>>,
    /// Whether it writes the range, and so makes its pages dirty.
    writes: bool,
}

impl Hardware {
    /// Creates the hardware that `stop` stops, without a mapping.
    pub(crate) fn new(stop: impl Fn() + Send + Sync + 'static, writes: bool) -> Result<Hardware> {
        Ok(Hardware {
            stop: KBox::new(stop, GFP_KERNEL_ACCOUNT)?,
            mapping: None,
            writes,
        })
    }

    /// Whether the log must know of its writes.
    fn is_logged(&self) -> bool {
        dirty_log::OFFERED && self.writes
    }

    /// Stops it.
    fn stop(&self) {
        (self.stop)();
    }

    /// Maps `len` bytes of `pages` for it, from `offset` bytes into the first one on.
    ///
    /// # Errors
    ///
    /// ENOMEM; EIO if the hardware cannot reach the pages.
    ///
    /// # Safety
    ///
    /// The bytes must be within `pages`, which must be pinned until [`unmap`](Self::unmap).
    unsafe fn map(
        &mut self,
        parent: DmaParent,
        pages: &[*mut raw::page],
        offset: usize,
        len: usize,
    ) -> Result {
        // What is only read is not copied back where the kernel copies for hardware that does not
        // reach the pages: the guest may write beside it meanwhile.
        let direction = match self.writes {
            true => DataDirection::Bidirectional,
            false => DataDirection::ToDevice,
        };
        // SAFETY: As guaranteed by the caller.
        let mapping = unsafe { Mapping::new(parent, pages, offset, len, direction)? };
        self.mapping = Some(KBox::new(mapping, GFP_KERNEL_ACCOUNT)?);
        Ok(())
    }

    /// Ends the mapping. What the hardware has written is in the pages then.
    fn unmap(&mut self) {
        self.mapping = None;
    }

    /// Calls `each(address, len)` for the segments of the mapping, in the order of the range.
    ///
    /// # Errors
    ///
    /// ENODEV without a mapping; else the error of `each`, at which it stops.
    pub(super) fn segments(&self, mut each: impl FnMut(u64, usize) -> Result) -> Result {
        let mapping = self.mapping.as_ref().ok_or(ENODEV)?;
        // SAFETY: By the type invariant the table is allocated, and it does not change.
        let table = unsafe { SGTable::from_raw(mapping.table.get()) };
        for segment in table.iter() {
            each(segment.dma_address(), segment.dma_len() as usize)?;
        }
        Ok(())
    }
}

impl Pins {
    /// Makes `range`, whose `pages` are pinned, one for `hardware`: its writes are accounted, and
    /// it finds the `len` bytes at `iova`.
    #[cold]
    pub(super) fn admit(
        &self,
        mut hardware: Hardware,
        range: Arc<Range>,
        pages: Pages,
        iova: u64,
        len: usize,
    ) -> Result<Arc<Range>> {
        let held = match hardware.is_logged() {
            true => self.log.hold(&range.span.all_numbers(PAGE_SIZE)),
            false => Ok(()),
        };
        let mapped = held.and_then(|()| {
            let Some(parent) = self.parent else {
                return Ok(());
            };
            let (pages, offset) = (pages.get(range.span.pages), iova as usize % PAGE_SIZE);
            // SAFETY: `pages` are those of the bytes, and stay pinned until `dismiss` has ended the
            // mapping.
            let mapped = unsafe { hardware.map(parent, pages, offset, len) };
            mapped.inspect_err(|_| {
                if hardware.is_logged() {
                    self.log.release(&range.span.all_numbers(PAGE_SIZE));
                }
            })
        });
        if let Err(error) = mapped {
            self.unpin_pages(&range);
            return self.give_up(&range, error);
        }
        range.state.lock().pinned_for(hardware, pages);
        if trace::pin_is_on() {
            self.trace_pin(&range.span, 0);
        }
        Ok(range)
    }

    /// Unpins `range`, which `hardware` uses; stops that first if it may be `running`.
    #[cold]
    pub(super) fn dismiss(&self, mut hardware: Hardware, range: &Arc<Range>, running: bool) {
        if running {
            hardware.stop();
        }
        // This may be what writes the pages, so it comes before they are released.
        hardware.unmap();
        if hardware.is_logged() {
            self.log.release(&range.span.all_numbers(PAGE_SIZE));
        }
        self.unpin_and_forget(range);
        // Its `stop` may own what owns the guard, whose drop waits until the range has left the
        // table.
        drop(hardware);
    }
}
