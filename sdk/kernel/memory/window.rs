// SPDX-License-Identifier: GPL-2.0

//! The data window of protocol v1: memory through which a stream passes in chunks.
//!
//! User space maps it before a session begins and may keep the mapping for longer. So the mapping
//! exists at all times, but the pages do not: one is allocated at the first access by either side,
//! and all are freed at the end of a session. A mapping shows zeros after that.
//!
//! User space may write a mapped page at any time, also while the kernel reads it. So the kernel
//! reads each byte once, into its own memory, and checks only that copy.

use super::{
    mapping::{self, Mapping},
    page_access::{copy_from_page, in_pages},
};
use crate::base::raw;
use core::ptr;
use kernel::{
    error::to_result,
    new_mutex,
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::Mutex,
};
use mdev_model::{paging::Piece, region, v1};

/// Number of pages in the window.
const PAGES: usize = v1::WINDOW as usize / PAGE_SIZE;

/// Number of pages that a fault maps: an access is usually followed by accesses to the next page.
const FAULT_AHEAD: usize = 64;

/// The data window of an open device.
///
/// Page faults take its lock, so it must not be held while user memory is accessed.
#[pin_data]
pub(crate) struct Window {
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// Empty, or [`PAGES`] long, with the pages that were accessed.
    pages: KVVec<Option<Page>>,
    /// `None` while the device is not open.
    mapping: Option<Mapping>,
}

impl Inner {
    /// Returns page `index`, zeroed if it is new.
    ///
    /// # Errors
    ///
    /// EINVAL if there is no such page, ENOMEM.
    fn page(&mut self, index: usize) -> Result<&Page> {
        if self.pages.is_empty() {
            let mut pages = KVVec::with_capacity(PAGES, GFP_KERNEL_ACCOUNT)?;
            for _ in 0..PAGES {
                pages.push(None, GFP_KERNEL_ACCOUNT)?;
            }
            self.pages = pages;
        }
        let page = self.pages.get_mut(index).ok_or(EINVAL)?;
        if page.is_none() {
            *page = Some(Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?);
        }
        page.as_ref().ok_or(ENOMEM)
    }
}

impl Window {
    /// Creates an empty window; the lock is created here and not by generic code, see `lock.rs`.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_mutex!(Inner { pages: KVVec::new(), mapping: None }, "mdev_window"),
        })
    }

    /// Copies the bytes at `offset` into `data`; EINVAL if they are out of bounds.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        check(offset, data.len())?;
        let inner = self.inner.lock();
        in_pages(offset, data.len(), |piece| {
            let Some(Some(page)) = inner.pages.get(piece.page) else {
                data[piece.bytes].fill(0);
                return Ok(());
            };
            // SAFETY: `inner` owns the page, and is locked.
            unsafe { copy_from_page(page.as_ptr(), &piece, data) };
            Ok(())
        })
    }

    /// Copies `data` to `offset`; EINVAL if that is out of bounds, ENOMEM without a page for it.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result {
        // SAFETY: The pointer and the length are those of a slice.
        unsafe { self.write_raw(offset, data.as_ptr(), data.len()) }
    }

    /// Copies `len` bytes from `from` to `offset`; errors are those of [`write`](Self::write).
    ///
    /// # Safety
    ///
    /// `from` must be valid for reads of `len` bytes.
    pub(crate) unsafe fn write_raw(&self, offset: usize, from: *const u8, len: usize) -> Result {
        check(offset, len)?;
        let mut inner = self.inner.lock();
        in_pages(offset, len, |piece| {
            let Piece {
                page,
                offset,
                bytes,
            } = piece;
            let page = inner.page(page)?;
            // SAFETY: The caller guarantees `len` readable bytes at `from`, in which `bytes` are.
            // `inner` owns the page. For races with user space see `copy_from_page`.
            unsafe {
                let from = from.add(bytes.start).cast();
                raw::memcpy_to_page(page.as_ptr(), offset, from, bytes.len());
            }
            Ok(())
        })
    }

    /// Frees all pages; accesses through user space's mappings fault in new ones.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner.lock();
        let pages = core::mem::replace(&mut inner.pages, KVVec::new());
        if let (false, Some(mapping)) = (pages.is_empty(), &inner.mapping) {
            // Under the lock, so that no fault maps a page that is about to be freed.
            mapping.unmap(0..PAGES);
        }
        drop(inner);
        drop(pages);
    }

    /// Attaches the window to a device that is being opened.
    ///
    /// # Safety
    ///
    /// `vdev` must be a VFIO device that is being opened. [`detach`](Self::detach) must be called
    /// before it is closed.
    pub(crate) unsafe fn attach(&self, vdev: *mut raw::vfio_device) {
        let base = region::file_offset(v1::REGION) + v1::DATA_OFFSET;
        // SAFETY: The caller guarantees that `vdev` is being opened, and that `detach` is called
        // before the close.
        self.inner.lock().mapping = unsafe { Mapping::new(vdev, base) };
    }

    /// Detaches the window from a device that is being closed and no longer mapped.
    pub(crate) fn detach(&self) {
        self.inner.lock().mapping = None;
        self.clear();
    }

    /// Sets up `vma` as a mapping of the window or a part of it.
    ///
    /// # Errors
    ///
    /// EINVAL if `vma` is not shared or not within the window.
    ///
    /// # Safety
    ///
    /// `vma` must be one that `mmap()` of the device's file sets up, at a file offset in the
    /// migration region. The window must be attached to that device, which must be open.
    pub(crate) unsafe fn mmap(&self, vma: *mut raw::vm_area_struct) -> Result {
        let place = v1::DATA_OFFSET..v1::SIZE;
        // SAFETY: The caller guarantees that `vma` is being set up for the open device. `self` is a
        // part of what lives until the device is closed, and `VM_OPS` is for a `Window` at `place`.
        unsafe { mapping::show(vma, self, place, raw::VM_MIXEDMAP, &VM_OPS) }
    }

    /// Maps page `first` at `address`, and some of the pages after it.
    ///
    /// # Errors
    ///
    /// ENOMEM without a page or a page table for it; else the error of `vm_insert_pages()`.
    ///
    /// # Safety
    ///
    /// [`mmap`](Self::mmap) must have set up `vma`, page `first` must belong at `address`, and the
    /// caller must be the fault handler of `vma`.
    unsafe fn fault(&self, vma: *mut raw::vm_area_struct, address: usize, first: usize) -> Result {
        // SAFETY: The caller guarantees that it handles a fault of `vma`, whose bounds do not
        // change meanwhile.
        let end = unsafe { (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_end };
        let count = FAULT_AHEAD.min((end - address) / PAGE_SIZE);
        let mut inner = self.inner.lock();
        let mut pages = [ptr::null_mut(); FAULT_AHEAD];
        for (index, page) in (first..).zip(&mut pages[..count]) {
            *page = inner.page(index)?.as_ptr();
        }
        let (pages, mut remaining) = (pages.as_mut_ptr(), count);
        // SAFETY: `count` pages from `address` are in `vma`, into which pages may be inserted
        // (`VM_MIXEDMAP`). The pages are valid, and the mapping takes a reference to each.
        match to_result(unsafe { raw::vm_insert_pages(vma, address, pages, &mut remaining) }) {
            // Another thread was faster, or a later page was mapped already.
            Err(e) if e == EBUSY => Ok(()),
            other => other,
        }
    }
}

/// Checks that the `len` bytes at `offset` are in the window; EINVAL if not.
fn check(offset: usize, len: usize) -> Result {
    let end = offset.checked_add(len).ok_or(EINVAL)?;
    if end as u64 > v1::WINDOW {
        return Err(EINVAL);
    }
    Ok(())
}

const VM_OPS: raw::vm_operations_struct = raw::vm_operations_struct {
    fault: Some(fault),
    ..pin_init::zeroed()
};

/// # Safety
///
/// `vmf` must be a fault in a mapping that [`Window::mmap`] set up, and the kernel must be the
/// caller.
unsafe extern "C" fn fault(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: The caller guarantees that `vmf` is a fault in a mapping of a `Window`, and this is
    // its fault handler.
    let result = unsafe {
        let (window, offset) = mapping::faulting::<Window>(vmf);
        let info = (*vmf).__bindgen_anon_1;
        let first = (offset - v1::DATA_OFFSET) as usize / PAGE_SIZE;
        window.fault(info.vma, info.address, first)
    };
    match result {
        Ok(()) => raw::vm_fault_reason_VM_FAULT_NOPAGE,
        Err(e) if e == ENOMEM => raw::vm_fault_reason_VM_FAULT_OOM,
        Err(_) => raw::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
