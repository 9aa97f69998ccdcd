// SPDX-License-Identifier: GPL-2.0

//! The ranges of guest memory that are pinned, and the table that they are in.

use super::unmap::{Id, Notice};
use crate::{dirty_log, dirty_log::Log, pages::Pages, raw};
use core::{ops::RangeInclusive, ptr::NonNull};
use kernel::{
    current, new_mutex,
    page::{BorrowedPage, Page, PAGE_SIZE},
    prelude::*,
    sync::{Arc, Mutex},
};

/// How a driver stops hardware that uses a range, before user space takes the range away.
pub(crate) type Stop = KBox<dyn Fn() + Send + Sync>;

pub(super) enum State {
    /// Being pinned or unpinned by some thread, or unpinned for good.
    Busy,
    /// Pinned; for hardware, if there is a `Stop`.
    Live(Pages, Option<Stop>),
}

/// Whether `pages` pages from `start` on have a byte in common with `iovas`.
fn overlap(start: u64, pages: usize, iovas: &RangeInclusive<u64>) -> bool {
    // The first byte of the last page and the rest of it: a sum that fits even for all of memory.
    let last = start + (pages as u64 - 1) * PAGE_SIZE as u64 + (PAGE_SIZE as u64 - 1);
    start <= *iovas.end() && *iovas.start() <= last
}

/// A range of whole pages of guest memory that is, was or becomes pinned.
#[pin_data]
pub(crate) struct Range {
    /// The first page's IOVA.
    pub(super) start: u64,
    pub(super) pages: usize,
    #[pin]
    pub(super) state: Mutex<State>,
}

impl Range {
    pub(super) fn overlaps(&self, iovas: &RangeInclusive<u64>) -> bool {
        overlap(self.start, self.pages, iovas)
    }

    /// The numbers of the pages that hold `len` bytes from `offset` on; `len` is not 0.
    fn numbers(&self, offset: usize, len: usize) -> dirty_log::Pages {
        let first = self.start / PAGE_SIZE as u64;
        first + (offset / PAGE_SIZE) as u64..=first + ((offset + len - 1) / PAGE_SIZE) as u64
    }

    pub(super) fn all_numbers(&self) -> dirty_log::Pages {
        self.numbers(0, self.pages * PAGE_SIZE)
    }

    /// Calls `each(page)` for the pages of `len` bytes from `offset` on, which the caller has bounded by
    /// the range. EFAULT if it was unmapped; it cannot be while this runs.
    pub(crate) fn with_pages(
        &self,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&Page) -> Result,
    ) -> Result {
        self.with_pieces(offset, len, None, |page, _, _, _| {
            // SAFETY: The page is pinned, and stays so while this runs.
            let page = unsafe { BorrowedPage::from_raw(page) };
            each(&page)
        })
    }

    /// Calls `each(page, offset in page, done before, length)` for the pieces of `len` bytes from
    /// `offset` on, as above; with `written` they count as written before the range can be unmapped.
    #[inline]
    pub(crate) fn with_pieces(
        &self,
        offset: usize,
        len: usize,
        written: Option<&Log>,
        mut each: impl FnMut(NonNull<raw::page>, usize, usize, usize) -> Result,
    ) -> Result {
        let state = self.state.lock();
        let State::Live(pages, _) = &*state else {
            return Err(EFAULT);
        };
        let pages = pages.get(self.pages);
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let in_page = at % PAGE_SIZE;
            let some = (PAGE_SIZE - in_page).min(len - done);
            let page = NonNull::new(*pages.get(at / PAGE_SIZE).ok_or(EINVAL)?).ok_or(EINVAL)?;
            each(page, in_page, done, some)?;
            done += some;
        }
        if let Some(log) = written.filter(|log| len > 0 && log.is_started()) {
            log.mark(&self.numbers(offset, len));
        }
        Ok(())
    }
}

/// What a thread unmaps, until it is back in user space.
struct Leaving {
    /// The address of the task, to be compared only.
    task: usize,
    iovas: RangeInclusive<u64>,
    notice: Id,
}

/// What is under way through an open device.
pub(super) struct Table {
    /// Until the device is being closed: new ranges and copies may begin.
    pub(super) open: bool,
    /// How many `vfio_dma_rw()` are under way.
    pub(super) copies: usize,
    /// How many threads wait for this table to change.
    pub(super) waiting: usize,
    /// Every range of which VFIO may have a page pinned.
    pub(super) ranges: KVec<Arc<Range>>,
    /// The one that left last: a device that pins for each of its commands has memory for one.
    spare: Option<Arc<Range>>,
    leaving: KVec<Leaving>,
    /// For the next thread that unmaps: whatever is pinned can be asked for.
    notice: Option<Notice>,
}

impl Table {
    pub(super) fn new() -> Self {
        Table {
            open: true,
            copies: 0,
            waiting: 0,
            ranges: KVec::new(),
            spare: None,
            leaving: KVec::new(),
            notice: None,
        }
    }

    /// Nothing is pinned or copied from here on, except for what is under way.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.notice = None;
    }

    /// This thread unmaps `iovas`. The notice is to be posted; there is none if it has unmapped something
    /// before in its system call, and is through with that.
    ///
    /// None, too, if there is no memory to remember it. Then nothing was pinned here since another unmap,
    /// and something can be once more before type1 asks again.
    pub(super) fn leaves(&mut self, iovas: &RangeInclusive<u64>) -> Option<Notice> {
        let task = current!().as_ptr() as usize;
        if let Some(left) = self.leaving.iter_mut().find(|left| left.task == task) {
            left.iovas = iovas.clone();
            return None;
        }
        self.prepare().ok()?;
        let notice = self.notice.take()?;
        let left = Leaving {
            task,
            iovas: iovas.clone(),
            notice: notice.id(),
        };
        self.leaving.push(left, GFP_KERNEL_ACCOUNT).ok()?;
        Some(notice)
    }

    /// The thread with this notice has unmapped what it wanted to.
    pub(super) fn left(&mut self, notice: Id) {
        self.leaving.retain(|left| left.notice != notice);
    }

    /// Sees to it that an unmap needs no memory.
    #[inline]
    fn prepare(&mut self) -> Result {
        if self.notice.is_none() {
            self.leaving.reserve(1, GFP_KERNEL_ACCOUNT)?;
            self.notice = Some(Notice::new()?);
        }
        Ok(())
    }

    pub(super) fn position(&self, range: &Arc<Range>) -> Option<usize> {
        self.ranges
            .iter()
            .position(|other| Arc::ptr_eq(other, range))
    }

    /// Enters a range that is about to be pinned.
    pub(super) fn enter(&mut self, start: u64, pages: usize) -> Result<Arc<Range>> {
        if !self.open {
            return Err(ENODEV);
        }
        // It is not mapped any more, though VFIO finds it for a moment still.
        let mut leaving = self.leaving.iter();
        if leaving.any(|left| overlap(start, pages, &left.iovas)) {
            return Err(EINVAL);
        }
        self.prepare()?;
        let range = match self.spare.take().and_then(Arc::into_unique_or_drop) {
            Some(mut spare) => {
                let spare_range = spare.as_mut().project();
                *spare_range.start = start;
                *spare_range.pages = pages;
                spare.into()
            }
            None => Arc::pin_init(
                pin_init!(Range {
                    start,
                    pages,
                    state <- new_mutex!(State::Busy, "mdev_range"),
                }),
                GFP_KERNEL_ACCOUNT,
            )?,
        };
        self.ranges.push(range.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(range)
    }

    pub(super) fn remove(&mut self, range: &Arc<Range>) {
        if let Some(index) = self.position(range) {
            self.spare = self.ranges.remove(index).ok();
        }
    }
}
