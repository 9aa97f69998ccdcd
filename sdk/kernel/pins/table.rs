// SPDX-License-Identifier: GPL-2.0

//! The ranges of guest memory that are pinned, and the table that they are in.

use super::round::Part;
use crate::{dirty_log, dirty_log::Log, pages::Pages, raw};
use core::{ops::RangeInclusive, ptr::NonNull};
use kernel::{
    new_mutex,
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

/// In how many rounds a device remembers that it was asked.
const ROUNDS: usize = 4;

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
    /// What user space has asked for, in rounds that may not be over; the latest comes first.
    leaving: [Option<(Part, RangeInclusive<u64>)>; ROUNDS],
}

impl Table {
    pub(super) fn new() -> Self {
        Table {
            open: true,
            copies: 0,
            waiting: 0,
            ranges: KVec::new(),
            spare: None,
            leaving: [const { None }; ROUNDS],
        }
    }

    /// User space asks for `iovas` in `round`.
    pub(super) fn leaves(&mut self, round: Part, iovas: &RangeInclusive<u64>) {
        let known =
            |left: &Option<(Part, _)>| left.as_ref().is_some_and(|(part, _)| *part == round);
        if !self.leaving.iter().any(known) {
            self.leaving.rotate_right(1);
            self.leaving[0] = Some((round, iovas.clone()));
        }
    }

    /// Whether a range would be in memory that is leaving.
    #[inline]
    pub(super) fn is_leaving(&mut self, start: u64, pages: usize) -> bool {
        self.leaving[0].is_some() && self.is_leaving_still(start, pages)
    }

    #[cold]
    fn is_leaving_still(&mut self, start: u64, pages: usize) -> bool {
        let mut on = self.leaving.each_mut().map(|left| left.take());
        on.iter_mut()
            .for_each(|left| *left = left.take().filter(|(round, _)| round.is_on()));
        // Those that are left move up.
        for (to, left) in self.leaving.iter_mut().zip(on.into_iter().flatten()) {
            *to = Some(left);
        }
        let mut left = self.leaving.iter().flatten();
        left.any(|(_, iovas)| overlap(start, pages, iovas))
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
