// SPDX-License-Identifier: GPL-2.0

//! Memory of a device behind a BAR: user space maps it, and what is written to it is known by page.
//!
//! A driver writes through [`DeviceMemory`], which notes the page. User space writes through its
//! mapping, whose pages are read-only until the first write: that write faults and notes the page.
//! [`take_dirty`](DeviceMemory::take_dirty) clears the notes of some pages, takes their mappings
//! away and so lets the next write fault again; whoever copies the pages after that misses nothing.
//! A guest's writes arrive here the same way, because KVM's mappings follow user space's.
//!
//! The pages are mapped as pages and not as bare frame numbers: of the latter KVM does not make a
//! read-only one writable, but emulates the guest's instruction, if it can.
//!
//! C headers: `include/linux/mm.h`, `include/linux/mm_types.h`

use super::{
    atomic_pages::{page_set, Atomics},
    mapping::{self, copy_from_page, copy_to_page, in_pages, Mapping},
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
use mdev_model::{page_set::PageSet, region};

/// The memory behind a BAR of an open device. It begins as zeros.
///
/// # Invariants
///
/// `mapping` is that of the VFIO device through whose file this memory can be mapped, and none
/// while that is not open.
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
    /// Written, or cleared, since the last [`start_tracking`](Self::start_tracking) and not yet
    /// taken.
    dirty: PageSet<Atomics>,
    /// Written since it was zero: what a migration has to carry.
    used: PageSet<Atomics>,
    #[pin]
    mapping: Mutex<Option<Mapping>>,
    /// Who wants to be woken by the next write, and whether there is one.
    #[pin]
    watcher: Mutex<Option<Arc<Wakeup>>>,
    watched: Atomic<bool>,
}

impl DeviceMemory {
    /// Memory of `size` bytes, a multiple of the page size.
    pub fn new(size: usize) -> Result<Arc<Self>> {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let count = size / PAGE_SIZE;
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            let page = Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_HIGHMEM)?;
            pages.push(page, GFP_KERNEL)?;
        }
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

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.pages.len() * PAGE_SIZE
    }

    /// Copies the bytes from `offset` on into `data`; EINVAL beyond the end.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        self.check(offset, data.len())?;
        in_pages(offset, data.len(), |piece| {
            // SAFETY: The page is `self`'s.
            unsafe { copy_from_page(self.pages[piece.page].as_ptr(), &piece, data) };
            Ok(())
        })
    }

    /// Lets `copy` read `len` bytes from `offset` on through a pointer; they are not beyond the end
    /// of their page. Returns the checksum `crc` carried on over them; it is that of what was
    /// copied only if nobody writes them meanwhile.
    pub(crate) fn copy_out(
        &self,
        offset: usize,
        len: usize,
        crc: u32,
        copy: impl FnOnce(*const u8) -> Result,
    ) -> Result<u32> {
        let (page, at) = (self.pages.get(offset / PAGE_SIZE), offset % PAGE_SIZE);
        let page = page.filter(|_| len <= PAGE_SIZE - at).ok_or(EINVAL)?;
        // SAFETY: The page is `self`'s, and mapped from the first call to the last; `at + len` is
        // inside of it.
        unsafe {
            let mapped = raw::kmap_local_page(page.as_ptr());
            let from = mapped.cast::<u8>().add(at);
            let copied = copy(from);
            let crc = raw::crc32c(crc, from.cast(), len);
            raw::kunmap_local(mapped);
            copied.map(|()| crc)
        }
    }

    /// Copies `data` to `offset`; EINVAL beyond the end, and then nothing is written.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result {
        self.check(offset, data.len())?;
        in_pages(offset, data.len(), |piece| {
            // SAFETY: The page is `self`'s.
            unsafe { copy_to_page(self.pages[piece.page].as_ptr(), &piece, data) };
            // After the write: whoever takes the note sees the bytes.
            self.note(piece.page);
            Ok(())
        })
    }

    /// Back to zeros. What was not zero is dirty then, so a session that is under way sends it
    /// again.
    pub fn clear(&self) -> Result {
        let mut from = 0;
        while let Some(run) = self.take(&self.used, from, usize::MAX) {
            from = run.end;
            for page in run {
                // SAFETY: The whole page, which is `self`'s; for a race with user space see `read`.
                unsafe { raw::memzero_page(self.pages[page].as_ptr(), 0, PAGE_SIZE) };
                self.note_dirty(page);
            }
        }
        Ok(())
    }

    /// Becomes a copy of `other`, which is of the same size and of which nobody else knows. Cannot
    /// fail on the way: `buffer` has to be a page.
    pub fn copy_from(&self, other: &DeviceMemory, buffer: &mut [u8]) -> Result {
        if self.size() != other.size() || buffer.len() != PAGE_SIZE {
            return Err(EINVAL);
        }
        self.clear()?;
        let mut from = 0;
        while let Some(page) = other.used.next(from) {
            other.read(page * PAGE_SIZE, buffer)?;
            self.write(page * PAGE_SIZE, buffer)?;
            from = page + 1;
        }
        Ok(())
    }

    /// Begins to report: what was written since it was zero is dirty, and nothing else.
    pub fn start_tracking(&self) {
        self.dirty.become_all_of(&self.used);
    }

    /// Bytes in the pages at or behind `from` that [`take_dirty`](Self::take_dirty) would still
    /// find. Costs time in the size of the memory, a bit a page.
    pub fn dirty_bytes(&self, from: usize) -> u64 {
        (self.dirty.len_from(from.div_ceil(PAGE_SIZE)) * PAGE_SIZE) as u64
    }

    /// Bytes in the pages that were written since they were zero.
    pub fn used_bytes(&self) -> u64 {
        (self.used.len_from(0) * PAGE_SIZE) as u64
    }

    /// The next run of dirty pages at or behind `from`, of at most `most` bytes, but a page at
    /// least: its range in bytes. The pages are clean then, and a later write makes them dirty
    /// again; copy them after the call.
    pub fn take_dirty(&self, from: usize, most: usize) -> Option<Range<usize>> {
        let most = (most / PAGE_SIZE).max(1);
        let run = self.take(&self.dirty, from.div_ceil(PAGE_SIZE), most)?;
        Some(run.start * PAGE_SIZE..run.end * PAGE_SIZE)
    }

    /// Takes the next run of at most `most` pages of `set` at or behind `from` out of it, and their
    /// mappings away: a write to them from here on notes them again.
    fn take(&self, set: &PageSet<Atomics>, from: usize, most: usize) -> Option<Range<usize>> {
        let run = set.take_run(from, most, |set, page| self.take_page(set, page))?;
        self.unmap(run.clone());
        Some(run)
    }

    /// Takes `page` out of `set`; whether it was in there.
    fn take_page(&self, set: &PageSet<Atomics>, page: usize) -> bool {
        let Some(raw) = self.pages.get(page) else {
            return false;
        };
        // SAFETY: The page is `self`'s. The kernel maps a page for writing with the page locked,
        // from `page_mkwrite` on: either its note is not made yet and will last, or it is taken and
        // the mapping is there for `unmap` to find.
        unsafe { raw::lock_page(raw.as_ptr()) };
        let taken = set.take(page);
        // SAFETY: Locked just above.
        unsafe { raw::unlock_page(raw.as_ptr()) };
        taken
    }

    fn note(&self, page: usize) {
        self.used.add(page);
        self.note_dirty(page);
    }

    fn note_dirty(&self, page: usize) {
        self.dirty.add(page);
        // Orders the note before the look; pairs with the one in `watch`.
        smp_mb();
        if self.watched.load(Relaxed) {
            self.wake();
        }
    }

    /// Arms a one-shot wakeup: the next write wakes the pollers of `wakeup`. Look for what is dirty
    /// after the call.
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

    /// EINVAL unless the `len` bytes at `offset` are inside.
    fn check(&self, offset: usize, len: usize) -> Result {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.size() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Takes user space's mappings of `pages` away; they fault in again.
    fn unmap(&self, pages: Range<usize>) {
        if let Some(mapping) = &*self.mapping.lock() {
            mapping.unmap(pages);
        }
    }

    /// The memory is that of BAR `bar` of an open device. EBUSY if it is another one's already: the
    /// writes through one of them would be missed.
    ///
    /// # Safety
    ///
    /// `vdev` is a VFIO device that is being opened; [`detach`](Self::detach) is called before it
    /// is closed.
    pub(crate) unsafe fn attach(&self, vdev: *mut raw::vfio_device, bar: usize) -> Result {
        let mut mapping = self.mapping.lock();
        if mapping.is_some() {
            return Err(EBUSY);
        }
        // SAFETY: By the function's contract.
        *mapping = unsafe { Mapping::new(vdev, region::file_offset(bar as u32)) };
        Ok(())
    }

    /// The device is being closed; nobody has the memory mapped any more.
    pub(crate) fn detach(&self) {
        *self.mapping.lock() = None;
        *self.watcher.lock() = None;
    }

    /// Lets `vma` show the memory.
    ///
    /// # Safety
    ///
    /// `vma` is being made, by `mmap()` of the file of the open VFIO device that this memory is
    /// attached to, for the part of the file that is the memory's BAR.
    pub(crate) unsafe fn mmap(&self, vma: *mut raw::vm_area_struct) -> Result {
        // SAFETY: By the function's contract. The driver keeps `self` as long as the device is
        // open.
        unsafe { mapping::show(vma, self, 0..self.size() as u64, 0, &VM_OPS) }
    }
}

const VM_OPS: raw::vm_operations_struct = raw::vm_operations_struct {
    fault: Some(fault),
    page_mkwrite: Some(page_mkwrite),
    ..pin_init::zeroed()
};

/// The memory and the page of it that `vmf` is about.
///
/// # Safety
///
/// `vmf` is a fault in a mapping that [`DeviceMemory::mmap`] set up.
unsafe fn faulting<'a>(vmf: *mut raw::vm_fault) -> (&'a DeviceMemory, usize) {
    // SAFETY: By the function's contract.
    let (memory, offset) = unsafe { mapping::faulting::<DeviceMemory>(vmf) };
    (memory, offset as usize / PAGE_SIZE)
}

/// # Safety
///
/// Called by the kernel on a mapping that [`DeviceMemory::mmap`] set up.
unsafe extern "C" fn fault(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: By the function's contract.
    let (memory, page) = unsafe { faulting(vmf) };
    let Some(page) = memory.pages.get(page) else {
        return raw::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    // SAFETY: The page is `memory`'s; the kernel takes over the reference. For writing it is mapped
    // only after `page_mkwrite`, because `VM_OPS` has that.
    unsafe {
        raw::get_page(page.as_ptr());
        (*vmf).page = page.as_ptr();
    }
    0
}

/// # Safety
///
/// Called by the kernel on a mapping that [`DeviceMemory::mmap`] set up.
unsafe extern "C" fn page_mkwrite(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: By the function's contract. The kernel unlocks the page once it is mapped.
    let (memory, page) = unsafe {
        raw::lock_page((*vmf).page);
        faulting(vmf)
    };
    memory.note(page);
    raw::vm_fault_reason_VM_FAULT_LOCKED
}
