// SPDX-License-Identifier: GPL-2.0

//! The data window of protocol v1: memory through which a stream goes in chunks.
//!
//! User space maps it before a session begins and may keep it for longer, so the mapping is there
//! at all times and the memory is not: a page comes with the first access, by whichever side, and
//! all of them go at the end of a session. A mapping that outlives that shows zeros from then on.
//!
//! User space may write a mapped page at any time, also while the kernel reads it. So the kernel
//! reads each byte once, into memory of its own, and believes nothing before that.

use super::mapping::{self, copy_from_page, in_pages, Mapping};
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

/// How many pages a fault maps: whoever touches one takes those behind it next.
const FAULT_AHEAD: usize = 64;

/// The data window of an open device.
///
/// Its lock is taken in a page fault: it is not held while user memory is accessed.
#[pin_data]
pub(crate) struct Window {
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// Empty, or [`PAGES`] of which those are there that were accessed.
    pages: KVVec<Option<Page>>,
    /// None while the device is not open.
    mapping: Option<Mapping>,
}

impl Inner {
    /// Page `index`, which is zero if it was not there before.
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
    /// Made in here, and not by generic code: see `lock.rs`.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_mutex!(Inner { pages: KVVec::new(), mapping: None }, "mdev_window"),
        })
    }

    /// Copies the bytes from `offset` on into `data`; EINVAL beyond the end.
    pub(crate) fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        check(offset, data.len())?;
        let inner = self.inner.lock();
        in_pages(offset, data.len(), |piece| {
            let Some(Some(page)) = inner.pages.get(piece.page) else {
                data[piece.bytes].fill(0);
                return Ok(());
            };
            // SAFETY: The page is `inner`'s.
            unsafe { copy_from_page(page.as_ptr(), &piece, data) };
            Ok(())
        })
    }

    /// Copies `data` to `offset`; EINVAL beyond the end.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result {
        // SAFETY: The pointer and the length are those of a slice.
        unsafe { self.write_raw(offset, data.as_ptr(), data.len()) }
    }

    /// Copies `len` bytes at `from` to `offset`; EINVAL beyond the end.
    ///
    /// # Safety
    ///
    /// `from` is good for reading `len` bytes.
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
            // SAFETY: By the function's contract, for `bytes` is within `len`; for a race with user
            // space see `copy_from_page`.
            unsafe {
                let from = from.add(bytes.start).cast();
                raw::memcpy_to_page(page.as_ptr(), offset, from, bytes.len());
            }
            Ok(())
        })
    }

    /// Gives all memory back. What user space has mapped faults in again.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner.lock();
        let pages = core::mem::replace(&mut inner.pages, KVVec::new());
        if let (false, Some(mapping)) = (pages.is_empty(), &inner.mapping) {
            // With the lock held, so that no fault maps what is to go.
            mapping.unmap(0..PAGES);
        }
        drop(inner);
        drop(pages);
    }

    /// The window is that of an open device.
    ///
    /// # Safety
    ///
    /// `vdev` is a VFIO device that is being opened; [`detach`](Self::detach) is called before it
    /// is closed.
    pub(crate) unsafe fn attach(&self, vdev: *mut raw::vfio_device) {
        let base = region::file_offset(v1::REGION) + v1::DATA_OFFSET;
        // SAFETY: By the function's contract.
        self.inner.lock().mapping = unsafe { Mapping::new(vdev, base) };
    }

    /// The device is being closed; nobody has the window mapped any more.
    pub(crate) fn detach(&self) {
        self.inner.lock().mapping = None;
        self.clear();
    }

    /// Lets `vma` show the window, or a part of it.
    ///
    /// # Safety
    ///
    /// `vma` is being made, by `mmap()` of the file of the open VFIO device that this window is
    /// attached to, for a part of the file that is in the migration region.
    pub(crate) unsafe fn mmap(&self, vma: *mut raw::vm_area_struct) -> Result {
        let place = v1::DATA_OFFSET..v1::SIZE;
        // SAFETY: By the function's contract. The window is a part of what is kept for an open
        // device.
        unsafe { mapping::show(vma, self, place, raw::VM_MIXEDMAP, &VM_OPS) }
    }

    /// Maps page `first` at `address`, and some of those behind it.
    ///
    /// # Safety
    ///
    /// `vma` is a mapping that [`mmap`](Self::mmap) set up, and has page `first` at `address`. The
    /// caller is its fault handler.
    unsafe fn fault(&self, vma: *mut raw::vm_area_struct, address: usize, first: usize) -> Result {
        // SAFETY: By the function's contract nobody changes the bounds now.
        let end = unsafe { (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_end };
        let count = FAULT_AHEAD.min((end - address) / PAGE_SIZE);
        let mut inner = self.inner.lock();
        let mut pages = [ptr::null_mut(); FAULT_AHEAD];
        for (index, page) in (first..).zip(&mut pages[..count]) {
            *page = inner.page(index)?.as_ptr();
        }
        let (pages, mut remaining) = (pages.as_mut_ptr(), count);
        // SAFETY: `address` and `count` pages behind it are in `vma`, which allows pages to be
        // inserted (`VM_MIXEDMAP`). The pages are there; the mapping takes a reference to each.
        match to_result(unsafe { raw::vm_insert_pages(vma, address, pages, &mut remaining) }) {
            // Another thread was here first, or one of those behind is mapped already.
            Err(e) if e == EBUSY => Ok(()),
            other => other,
        }
    }
}

/// EINVAL unless the `len` bytes at `offset` are in the window.
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
/// Called by the kernel on a mapping that [`Window::mmap`] set up.
unsafe extern "C" fn fault(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: By the function's contract.
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
