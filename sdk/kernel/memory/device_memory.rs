// SPDX-License-Identifier: GPL-2.0

//! The memory of a device, which user space maps and whose writes are tracked by page.
//!
//! A driver writes through [`DeviceMemory`], which marks the page dirty. User space writes through
//! its mapping, whose pages are read-only until the first write; that write faults, and marks the
//! page. [`take_dirty`](DeviceMemory::take_dirty) clears the marks of some pages and removes their
//! mappings, so the next write faults again and a copy made after the call misses nothing. A
//! guest's writes arrive in the same way, since KVM's mappings follow user space's.
//!
//! The pages are mapped as pages and not as page frame numbers: KVM does not make a read-only
//! mapping of a PFN writable, but emulates the guest's instruction, if it can.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    atomic_pages::{page_set, Atomics},
    mapping::Mapping,
    page_access::{copy_from_page, copy_to_page, in_pages},
    wakeup::Wakeup,
};
use crate::base::{compat::smp_mb, raw};
use core::ops::Range;
use kernel::{
    new_mutex,
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
};
use mdev_model::page_set::PageSet;

/// The memory of an open device, initially zero, which a guest maps as a BAR or a part of one.
///
/// # Invariants
///
/// `mapping` belongs to the open VFIO device through whose file this memory can be mapped; it is
/// `None` while there is none.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::Arc};
/// # use mdev_sdk::DeviceMemory;
/// fn open() -> Result<Arc<DeviceMemory>> {
///     let memory = DeviceMemory::new(16 << 20)?;
///     memory.write(0x1000, b"splash")?;
///     memory.start_tracking();
///     Ok(memory)
/// }
///
/// /// Reads the next page that was written at or behind `from`. `page` has room for it.
/// fn next(memory: &DeviceMemory, from: usize, page: &mut [u8]) -> Result {
///     let dirty = memory.take_dirty(from, page.len()).ok_or(ENOENT)?;
///     // After `take_dirty`: what is written from here on is dirty again.
///     memory.read(dirty.start, page)
/// }
/// ```
#[pin_data]
pub struct DeviceMemory {
    pages: KVVec<Page>,
    /// Pages written or cleared since the last [`start_tracking`](Self::start_tracking) and not
    /// taken.
    dirty: PageSet<Atomics>,
    /// Pages written since they were zero, which a migration must transfer.
    used: PageSet<Atomics>,
    #[pin]
    mapping: Mutex<Option<Mapping>>,
    /// The pollers that the next write must wake; `watched` is whether there are any.
    #[pin]
    watcher: Mutex<Option<Arc<Wakeup>>>,
    watched: Atomic<bool>,
}

impl DeviceMemory {
    /// Creates memory of `size` bytes.
    ///
    /// # Errors
    ///
    /// EINVAL if `size` is zero or not a multiple of the page size; ENOMEM.
    pub fn new(size: usize) -> Result<Arc<Self>> {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let count = size / PAGE_SIZE;
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            pages.push(zeroed_page()?, GFP_KERNEL)?;
        }
        // INVARIANT: There is no device and no `mapping`.
        Arc::pin_init(
            try_pin_init!(Self {
                pages,
                dirty: page_set(count)?,
                used: page_set(count)?,
                mapping <- new_mutex!(None, "mdev_mapping"),
                watcher <- new_mutex!(None, "mdev_watcher"),
                watched: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// Copies the bytes at `offset` into `data`; EINVAL if they are out of bounds.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        self.check(offset, data.len())?;
        in_pages(offset, data.len(), |piece| {
            // SAFETY: `self` owns the page.
            unsafe { copy_from_page(self.pages[piece.page].as_ptr(), &piece, data) };
            Ok(())
        })
    }

    /// Passes a pointer to the `len` bytes at `offset`, which must be within one page, to `copy`.
    ///
    /// Returns `crc` continued over the bytes; if they are written meanwhile, it is not that of the
    /// copy.
    pub(crate) fn copy_out(
        &self,
        offset: usize,
        len: usize,
        crc: u32,
        copy: impl FnOnce(*const u8) -> Result,
    ) -> Result<u32> {
        let (page, at) = (self.pages.get(offset / PAGE_SIZE), offset % PAGE_SIZE);
        let page = page.filter(|_| len <= PAGE_SIZE - at).ok_or(EINVAL)?;
        // SAFETY: `self` owns the page. It is mapped between the first call and the last, and
        // `at + len` is within it.
        unsafe {
            let mapped = raw::kmap_local_page(page.as_ptr());
            let from = mapped.cast::<u8>().add(at);
            let copied = copy(from);
            let crc = raw::crc32c(crc, from.cast(), len);
            raw::kunmap_local(mapped);
            copied.map(|()| crc)
        }
    }

    /// Copies `data` to `offset`; EINVAL if that is out of bounds, with nothing written.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result {
        self.check(offset, data.len())?;
        in_pages(offset, data.len(), |piece| {
            // SAFETY: `self` owns the page.
            unsafe { copy_to_page(self.pages[piece.page].as_ptr(), &piece, data) };
            // The mark must follow the write, so that the thread that takes the mark sees the
            // bytes.
            self.note(piece.page);
            Ok(())
        })
    }

    /// Clears the memory to zeros.
    ///
    /// Pages that were written become dirty, so a session under way sends them again.
    pub fn clear(&self) {
        let mut from = 0;
        while let Some(run) = self.take(&self.used, from, usize::MAX) {
            from = run.end;
            for page in run {
                // SAFETY: `self` owns the page, all of which is cleared. For races see
                // `copy_from_page`.
                unsafe { raw::memzero_page(self.pages[page].as_ptr(), 0, PAGE_SIZE) };
                self.note_dirty(page);
            }
        }
    }

    /// Copies `from`, which nothing else uses, to page `number`; does nothing beyond the last.
    pub(super) fn replace(&self, number: usize, from: &Page) {
        let Some(page) = self.pages.get(number) else {
            return;
        };
        // SAFETY: `self` owns `page`, and the caller `from`, which is mapped between the first call
        // and the last. For races see `copy_from_page`.
        unsafe {
            let mapped = raw::kmap_local_page(from.as_ptr());
            raw::memcpy_to_page(page.as_ptr(), 0, mapped.cast(), PAGE_SIZE);
            raw::kunmap_local(mapped);
        }
        self.note(number);
    }

    /// Starts tracking: exactly the pages that were written since they were zero become dirty.
    pub fn start_tracking(&self) {
        self.dirty.become_all_of(&self.used);
    }

    /// Returns the size of the pages from `from` that [`take_dirty`](Self::take_dirty) would find;
    /// reads one bit for each page of the memory.
    pub fn dirty_bytes(&self, from: usize) -> u64 {
        (self.dirty.len_from(from.div_ceil(PAGE_SIZE)) * PAGE_SIZE) as u64
    }

    /// Returns the size of the pages that were written since they were zero.
    pub fn used_bytes(&self) -> u64 {
        (self.used.len_from(0) * PAGE_SIZE) as u64
    }

    /// Takes the next run of dirty pages from `from`, and returns its range in bytes.
    ///
    /// It has at most `most` bytes, but at least one page. The pages become clean, and later writes
    /// make them dirty again; copy them after the call.
    pub fn take_dirty(&self, from: usize, most: usize) -> Option<Range<usize>> {
        let most = (most / PAGE_SIZE).max(1);
        let run = self.take(&self.dirty, from.div_ceil(PAGE_SIZE), most)?;
        Some(run.start * PAGE_SIZE..run.end * PAGE_SIZE)
    }

    /// Takes the next run of at most `most` pages from `from` out of `set` and removes their
    /// mappings, so that later writes mark them again.
    fn take(&self, set: &PageSet<Atomics>, from: usize, most: usize) -> Option<Range<usize>> {
        let run = set.take_run(from, most, |set, page| self.take_page(set, page))?;
        self.unmap(run.clone());
        Some(run)
    }

    /// Takes `page` out of `set`, and returns whether it was in the set.
    fn take_page(&self, set: &PageSet<Atomics>, page: usize) -> bool {
        let Some(raw) = self.pages.get(page) else {
            return false;
        };
        // SAFETY: `self` owns the page. The kernel maps a page for writing with the page locked,
        // from `page_mkwrite` on. So the mark is either made later and stays, or it is taken here
        // and `unmap` finds the mapping.
        unsafe { raw::lock_page(raw.as_ptr()) };
        let taken = set.take(page);
        // SAFETY: This thread locked the page above.
        unsafe { raw::unlock_page(raw.as_ptr()) };
        taken
    }

    /// Marks a page as written. The mark must follow the write, or the kernel must hold the page
    /// locked until it has mapped it for writing.
    pub(super) fn note(&self, page: usize) {
        self.used.add(page);
        self.note_dirty(page);
    }

    fn note_dirty(&self, page: usize) {
        self.dirty.add(page);
        // Orders the mark before the load. Pairs with the barrier in `watch`.
        smp_mb();
        if self.watched.load(Relaxed) {
            self.wake();
        }
    }

    /// Arms a one-shot wakeup: the next write wakes the pollers of `wakeup`. Check for dirty pages
    /// after the call, not before.
    pub(crate) fn watch(&self, wakeup: &Arc<Wakeup>) {
        *self.watcher.lock() = Some(wakeup.clone());
        self.watched.store(true, Relaxed);
        smp_mb();
    }

    #[cold]
    fn wake(&self) {
        if self.watched.xchg(false, Relaxed) {
            if let Some(wakeup) = &*self.watcher.lock() {
                wakeup.wake();
            }
        }
    }

    /// Checks that the `len` bytes at `offset` are in bounds; EINVAL if not.
    pub(super) fn check(&self, offset: usize, len: usize) -> Result {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.size() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Removes user space's mappings of `pages`, which fault in again.
    fn unmap(&self, pages: Range<usize>) {
        if let Some(mapping) = &*self.mapping.lock() {
            mapping.unmap(pages);
        }
    }

    /// Attaches the memory to file offset `base` of a device that is being opened.
    ///
    /// Returns EBUSY if it is attached to one already, since writes through one of the two would be
    /// missed.
    ///
    /// # Safety
    ///
    /// `vdev` must be a VFIO device that is being opened. [`detach`](Self::detach) must be called
    /// before it is closed.
    pub(super) unsafe fn attach(&self, vdev: *mut raw::vfio_device, base: u64) -> Result {
        let mut mapping = self.mapping.lock();
        if mapping.is_some() {
            return Err(EBUSY);
        }
        // INVARIANT: The memory is attached to `vdev` alone.
        // SAFETY: The caller guarantees that `vdev` is being opened and `detach` called before its
        // close.
        *mapping = unsafe { Mapping::new(vdev, base) };
        Ok(())
    }

    /// Detaches the memory from a device that is being closed and no longer mapped.
    pub(super) fn detach(&self) {
        // INVARIANT: The device is being closed.
        *self.mapping.lock() = None;
        *self.watcher.lock() = None;
    }

    /// Returns a page.
    pub(super) fn page(&self, number: usize) -> Option<&Page> {
        self.pages.get(number)
    }
}

/// Allocates a page of zeros.
pub(super) fn zeroed_page() -> Result<Page> {
    let flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_HIGHMEM;
    Ok(Page::alloc_page(flags)?)
}
