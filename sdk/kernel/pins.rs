// SPDX-License-Identifier: GPL-2.0

//! The pinned ranges of an open device, and how they are taken back when user space unmaps them.
//!
//! VFIO asks a device in its `dma_unmap` callback to have unpinned a range before it returns; type1
//! looks again at most ten times and then calls `BUG()`. So a range is in the table before its first
//! page is pinned and until its last one is unpinned, and the callback waits for a pin or an unpin
//! that is under way in another thread. That wait ends: the callback runs with type1's `iommu->lock`
//! released, which is all that pinning and unpinning wait for. No lock of this file is held across a
//! call into VFIO.
//!
//! C header: `include/linux/vfio.h`; `vfio_dma_do_unmap()` in `drivers/vfio/vfio_iommu_type1.c`

use crate::{dirty_log, dirty_log::Log, raw};
use core::{ops::RangeInclusive, ptr::NonNull};
use kernel::{
    error::to_result,
    new_condvar, new_mutex,
    page::{BorrowedPage, Page, PAGE_SIZE},
    prelude::*,
    sync::{Arc, CondVar, Mutex},
};

/// How many pages VFIO pins in one call.
const MAX_PAGES: usize = raw::VFIO_PIN_PAGES_MAX_ENTRIES as usize;

/// An open VFIO device, as far as guest memory is reached through it.
struct Vdev(NonNull<raw::vfio_device>);

// SAFETY: VFIO locks by itself; the pointer is used only as `Pins` says.
unsafe impl Send for Vdev {}
// SAFETY: As above.
unsafe impl Sync for Vdev {}

type Pages = KVVec<NonNull<raw::page>>;

/// How a driver stops hardware that uses a range, before user space takes the range away.
pub(crate) type Stop = KBox<dyn Fn() + Send + Sync>;

enum State {
    /// Being pinned, by the thread that made the range.
    Pinning,
    /// Pinned; for hardware, if there is a `Stop`.
    Live(Pages, Option<Stop>),
    /// Being unpinned, by whoever came first.
    Unpinning,
    /// Not pinned, for good.
    Gone,
}

// SAFETY: A pinned page may be reached and unpinned from any thread; a `Stop` is Send.
unsafe impl Send for State {}

/// A range of whole pages of guest memory that is, was or becomes pinned.
#[pin_data]
pub(crate) struct Range {
    /// The first page's IOVA.
    start: u64,
    pages: usize,
    #[pin]
    state: Mutex<State>,
    #[pin]
    settled: CondVar,
}

impl Range {
    fn last(&self) -> u64 {
        // The first byte of the last page and the rest of it: a sum that fits even for all of memory.
        self.start + (self.pages as u64 - 1) * PAGE_SIZE as u64 + (PAGE_SIZE as u64 - 1)
    }

    fn overlaps(&self, range: &RangeInclusive<u64>) -> bool {
        self.start <= *range.end() && *range.start() <= self.last()
    }

    /// The pages that hold `len` bytes from `offset` on.
    pub(crate) fn numbers(&self, offset: usize, len: usize) -> dirty_log::Pages {
        let first = self.start / PAGE_SIZE as u64;
        first + (offset / PAGE_SIZE) as u64..=first + ((offset + len - 1) / PAGE_SIZE) as u64
    }

    fn is_gone(&self) -> bool {
        matches!(*self.state.lock(), State::Gone)
    }

    /// Calls `each(page, offset in page, done before, length)` for the pieces of `len` bytes from
    /// `offset` on, which the caller has bounded by the range; with `written` they count as written
    /// before the range can be unmapped. EFAULT if it was; it cannot be while this runs.
    pub(crate) fn with_pages(
        &self,
        offset: usize,
        len: usize,
        written: Option<&Log>,
        mut each: impl FnMut(&Page, usize, usize, usize) -> Result,
    ) -> Result {
        let state = self.state.lock();
        let State::Live(pages, _) = &*state else {
            return Err(EFAULT);
        };
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let in_page = at % PAGE_SIZE;
            let some = (PAGE_SIZE - in_page).min(len - done);
            let page = pages.get(at / PAGE_SIZE).ok_or(EINVAL)?;
            // SAFETY: The page is pinned, and stays so while `state` is locked.
            let page = unsafe { BorrowedPage::from_raw(*page) };
            each(&page, in_page, done, some)?;
            done += some;
        }
        if let Some(log) = written.filter(|_| len > 0) {
            log.mark(&self.numbers(offset, len));
        }
        Ok(())
    }
}

struct Table {
    /// Until the device is being closed: new ranges and copies may begin.
    open: bool,
    /// How many `vfio_dma_rw()` are under way.
    copies: usize,
    ranges: KVec<Arc<Range>>,
}

/// The guest memory that an open device reaches.
///
/// # Invariants
///
/// VFIO is called for `vdev` only on behalf of an entry in the table, which is a range that is not
/// gone, or a copy. A range leaves the table only when it is gone, and [`close`](Self::close) returns
/// only when there is no entry any more and never will be. It is called before `close_device`
/// returns, so the VFIO device is open during every call.
#[pin_data]
pub(crate) struct Pins {
    vdev: Vdev,
    #[pin]
    table: Mutex<Table>,
    #[pin]
    copied: CondVar,
    #[pin]
    pub(crate) log: Log,
}

impl Pins {
    /// # Safety
    ///
    /// `vdev` is a VFIO device that is being opened; [`close`](Self::close) is called before it is
    /// closed.
    pub(crate) unsafe fn new(vdev: NonNull<raw::vfio_device>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                vdev: Vdev(vdev),
                table <- new_mutex!(Table {
                    open: true,
                    copies: 0,
                    ranges: KVec::new(),
                }, "mdev_pins"),
                copied <- new_condvar!("mdev_pins_copied"),
                log <- Log::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Pins the pages that hold `len` bytes from `iova` on; for hardware, if there is a `stop`.
    pub(crate) fn pin(
        &self,
        iova: u64,
        len: usize,
        prot: u32,
        stop: Option<Stop>,
    ) -> Result<Arc<Range>> {
        let last = (len as u64)
            .checked_sub(1)
            .and_then(|more| iova.checked_add(more));
        let page_of = |iova: u64| iova / PAGE_SIZE as u64;
        let pages = usize::try_from(page_of(last.ok_or(EINVAL)?) - page_of(iova))?;
        let pages = pages.checked_add(1).ok_or(EINVAL)?;
        let mut pinned = Pages::new();
        let range = Arc::pin_init(
            pin_init!(Range {
                start: page_of(iova) * PAGE_SIZE as u64,
                pages,
                state <- new_mutex!(State::Pinning, "mdev_range"),
                settled <- new_condvar!("mdev_range_settled"),
            }),
            GFP_KERNEL,
        )?;
        {
            let mut table = self.table.lock();
            if !table.open {
                return Err(ENODEV);
            }
            table.ranges.push(range.clone(), GFP_KERNEL)?;
        }
        let mut result = self.pin_pages(range.start, pages, prot, &mut pinned);
        if result.is_ok() && stop.is_some() {
            result = self.log.hold(&range.numbers(0, pages * PAGE_SIZE));
        }
        let failed = result.is_err();
        if failed {
            self.unpin_pages(range.start, pinned.len());
        }
        *range.state.lock() = if failed {
            State::Gone
        } else {
            State::Live(pinned, stop)
        };
        range.settled.notify_all();
        if failed {
            self.forget(&range);
        }
        result.map(|()| range)
    }

    /// Pins into `pinned`; after an error it holds what was pinned before. A length may be the guest's,
    /// so there is never memory for more than one call ahead of what user space has really mapped.
    fn pin_pages(&self, start: u64, pages: usize, prot: u32, pinned: &mut Pages) -> Result {
        let mut batch = KVec::from_elem(core::ptr::null_mut(), pages.min(MAX_PAGES), GFP_KERNEL)?;
        while pinned.len() < pages {
            let some = (pages - pinned.len()).min(MAX_PAGES);
            pinned.reserve(some, GFP_KERNEL_ACCOUNT)?;
            let iova = start + (pinned.len() * PAGE_SIZE) as u64;
            // SAFETY: By the invariant of `Pins`; `batch` has room for `some` pages.
            let done = unsafe {
                raw::vfio_pin_pages(
                    self.vdev.0.as_ptr(),
                    iova,
                    some as c_int,
                    prot as c_int,
                    batch.as_mut_ptr(),
                )
            };
            for page in batch.iter().take(usize::try_from(done).unwrap_or(0)) {
                let page = NonNull::new(*page).ok_or(EFAULT)?;
                pinned.push(page, GFP_KERNEL_ACCOUNT)?;
            }
            if done != some as c_int {
                return Err(if done < 0 {
                    Error::from_errno(done)
                } else {
                    EFAULT
                });
            }
        }
        Ok(())
    }

    fn unpin_pages(&self, start: u64, pages: usize) {
        for first in (0..pages).step_by(MAX_PAGES) {
            let some = (pages - first).min(MAX_PAGES);
            let iova = start + (first * PAGE_SIZE) as u64;
            // SAFETY: By the invariant of `Pins`; the pages were pinned and are unpinned once.
            unsafe { raw::vfio_unpin_pages(self.vdev.0.as_ptr(), iova, some as c_int) };
        }
    }

    /// Unpins `range` unless somebody else has; when this returns it is unpinned. Hardware that may use
    /// it still is stopped before, if `running` says so.
    fn unpin(&self, range: &Range, running: bool) {
        let mut state = range.state.lock();
        loop {
            match &*state {
                State::Pinning | State::Unpinning => range.settled.wait(&mut state),
                State::Gone => return,
                State::Live(..) => break,
            }
        }
        let live = core::mem::replace(&mut *state, State::Unpinning);
        drop(state);
        if let State::Live(_, Some(stop)) = &live {
            if running {
                stop();
            }
            self.log.release(&range.numbers(0, range.pages * PAGE_SIZE));
        }
        self.unpin_pages(range.start, range.pages);
        drop(live);
        *range.state.lock() = State::Gone;
        range.settled.notify_all();
    }

    /// The guard of `range` is dropped.
    pub(crate) fn release(&self, range: &Arc<Range>) {
        self.unpin(range, false);
        self.forget(range);
    }

    /// `range` is gone.
    fn forget(&self, range: &Arc<Range>) {
        let mut table = self.table.lock();
        table.ranges.retain(|other| !Arc::ptr_eq(other, range));
    }

    /// User space unmaps `iovas`: everything in there is unpinned when this returns, also while the
    /// device is being closed.
    pub(crate) fn revoke(&self, iovas: &RangeInclusive<u64>) {
        loop {
            let table = self.table.lock();
            let found = table
                .ranges
                .iter()
                .find(|range| range.overlaps(iovas) && !range.is_gone());
            let Some(range) = found.cloned() else {
                return;
            };
            drop(table);
            self.unpin(&range, true);
        }
    }

    /// The device is closed: nothing is pinned and nobody copies when this returns.
    pub(crate) fn close(&self) {
        self.table.lock().open = false;
        self.revoke(&(0..=u64::MAX));
        let mut table = self.table.lock();
        while table.copies > 0 {
            self.copied.wait(&mut table);
        }
    }

    /// `vfio_dma_rw()`: copies `len` bytes between `data` and guest memory at `iova`.
    ///
    /// # Safety
    ///
    /// `data` is valid for reads of `len` bytes, and for writes too unless `write` is set.
    pub(crate) unsafe fn copy(&self, iova: u64, data: *mut u8, len: usize, write: bool) -> Result {
        if len == 0 || iova.checked_add(len as u64 - 1).is_none() {
            return Err(EINVAL);
        }
        {
            let mut table = self.table.lock();
            if !table.open {
                return Err(ENODEV);
            }
            table.copies += 1;
        }
        let mut done = 0;
        let mut result = Ok(());
        while done < len && result.is_ok() {
            let at = iova + done as u64;
            // A write that fails is not accounted, though a first part of it may have arrived. A page
            // arrives or does not, so a write is cut into pages.
            let some = match write {
                true => (PAGE_SIZE - at as usize % PAGE_SIZE).min(len - done),
                false => len,
            };
            let copy = || {
                // SAFETY: By the invariant of `Pins`; `done + some` is at most `len`, and for `data` by
                // the function's contract.
                to_result(unsafe {
                    raw::vfio_dma_rw(self.vdev.0.as_ptr(), at, data.add(done).cast(), some, write)
                })
            };
            let page = at / PAGE_SIZE as u64;
            result = match write {
                true => self.log.writing(&(page..=page), copy),
                false => copy(),
            };
            done += some;
        }
        let mut table = self.table.lock();
        table.copies -= 1;
        drop(table);
        self.copied.notify_all();
        result
    }
}
