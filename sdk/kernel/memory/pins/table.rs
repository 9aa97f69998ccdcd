// SPDX-License-Identifier: GPL-2.0

//! The ranges of guest memory that are pinned, and the table that they are in.

use super::{
    super::dirty_log::Log,
    pages::Pages,
    unmap::{Id, UnmapNotifier},
};
use crate::base::{raw, wait::KernelThread};
use core::{mem, ops::RangeInclusive, ptr::NonNull};
use kernel::{
    current, new_mutex,
    page::{BorrowedPage, Page, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
};
use mdev_model::paging::{self, Piece, Span};

/// How a driver stops hardware that uses a range, before user space takes the range away.
pub(crate) type Stop = KBox<dyn Fn() + Send + Sync>;

pub(super) enum State {
    /// Being pinned or unpinned by some thread, or unpinned for good.
    Busy,
    /// Pinned; for hardware, if there is a `Stop`.
    Live(Pages, Option<Stop>),
}

/// A range of whole pages of guest memory that is, was or becomes pinned.
#[pin_data]
pub(crate) struct Range {
    pub(super) span: Span,
    /// Its place in the table, if it is there. Written with the table locked.
    place: Atomic<usize>,
    #[pin]
    pub(super) state: Mutex<State>,
}

impl Range {
    /// Calls `each(page)` for the pages of `len` bytes from `offset` on, which the caller has
    /// bounded by the range. EFAULT if it was unmapped; it cannot be while this runs.
    pub(crate) fn with_pages(
        &self,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&Page) -> Result,
    ) -> Result {
        let always = || Ok(());
        self.with_pieces(offset, len, always, None, |page, _| {
            // SAFETY: The page is pinned, and stays so while this runs.
            let page = unsafe { BorrowedPage::from_raw(page) };
            each(&page)
        })
    }

    /// Calls `each(page, piece)` for the pieces of `len` bytes from `offset` on, as above, unless
    /// `allowed` refuses, which is asked with the range locked; with `written` they count as
    /// written before the range can be unmapped.
    #[inline]
    pub(crate) fn with_pieces(
        &self,
        offset: usize,
        len: usize,
        allowed: impl FnOnce() -> Result,
        written: Option<&Log>,
        mut each: impl FnMut(NonNull<raw::page>, Piece) -> Result,
    ) -> Result {
        let state = self.state.lock();
        let State::Live(pages, _) = &*state else {
            return Err(EFAULT);
        };
        allowed()?;
        let pages = pages.get(self.span.pages);
        for piece in paging::pieces(PAGE_SIZE, offset, len) {
            let page = NonNull::new(*pages.get(piece.page).ok_or(EINVAL)?).ok_or(EINVAL)?;
            each(page, piece)?;
        }
        if let Some(log) = written.filter(|log| len > 0 && log.is_started()) {
            log.mark(&self.span.numbers(PAGE_SIZE, offset, len));
        }
        Ok(())
    }
}

/// What a thread unmaps, until it is back in user space.
struct Unmap {
    /// The address of the task, to be compared only.
    task: usize,
    iovas: RangeInclusive<u64>,
    notice: Id,
}

/// What is under way through a device.
pub(super) struct Table {
    /// How often the device was opened.
    opened: u64,
    /// From when it is being opened until it is being closed: new ranges and copies may begin.
    open: bool,
    /// The kernel threads that are in a call of VFIO, each as often as it is.
    calls: KVec<KernelThread>,
    /// Every range of which VFIO may have a page pinned, in no order.
    pub(super) ranges: KVec<Arc<Range>>,
    /// The one that left last: a device that pins for each of its commands has memory for one.
    recycled: Option<Arc<Range>>,
    unmaps: KVec<Unmap>,
    /// For the next thread that unmaps: whatever is pinned can be asked for.
    notice: Option<UnmapNotifier>,
}

impl Table {
    pub(super) fn new() -> Self {
        Table {
            opened: 0,
            open: false,
            calls: KVec::new(),
            ranges: KVec::new(),
            recycled: None,
            unmaps: KVec::new(),
            notice: None,
        }
    }

    /// Ranges and copies may begin from here on; returns the number of this time.
    pub(super) fn open(&mut self) -> u64 {
        self.opened += 1;
        self.open = true;
        self.opened
    }

    /// Whether the device is open, for the time with the number `opening`.
    pub(super) fn is_open(&self, opening: u64) -> bool {
        self.open && self.opened == opening
    }

    /// This thread is about to call VFIO, which may wait for user space to provide memory. Returns
    /// what [`end_call`](Self::end_call) wants to know: a thread of user space is killed with it,
    /// and is not remembered.
    #[inline]
    pub(super) fn begin_call(&mut self) -> Result<Option<KernelThread>> {
        match KernelThread::current() {
            None => Ok(None),
            Some(thread) => self.remember(thread).map(|()| Some(thread)),
        }
    }

    #[cold]
    fn remember(&mut self, thread: KernelThread) -> Result {
        Ok(self.calls.push(thread, GFP_KERNEL_ACCOUNT)?)
    }

    /// The call of `thread` is over.
    #[cold]
    pub(super) fn end_call(&mut self, thread: KernelThread) {
        if let Some(index) = self.calls.iter().position(|call| *call == thread) {
            // The index is in bounds, so this cannot fail.
            let _ = self.calls.remove(index);
        }
        // With the table locked: whoever interrupts it after this finds it in its next call.
        thread.end_interrupt();
    }

    /// Ends what kernel threads wait for in a call, so that it fails.
    pub(super) fn interrupt(&self) {
        for thread in self.calls.iter() {
            // SAFETY: It is in a call, and takes itself out of here, with the table locked, before
            // that returns.
            unsafe { thread.interrupt() };
        }
    }

    /// Nothing is pinned or copied from here on, except for what is under way.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.notice = None;
    }

    /// This thread unmaps `iovas`. The notice is to be posted; there is none if it has unmapped
    /// something before in its system call, and is through with that.
    ///
    /// None, too, if there is no memory to remember it. Then nothing was pinned here since another
    /// unmap, and something can be once more before type1 asks again.
    pub(super) fn begin_unmap(&mut self, iovas: &RangeInclusive<u64>) -> Option<UnmapNotifier> {
        let task = current!().as_ptr() as usize;
        if let Some(unmap) = self.unmaps.iter_mut().find(|unmap| unmap.task == task) {
            unmap.iovas = iovas.clone();
            return None;
        }
        self.prepare().ok()?;
        let notice = self.notice.take()?;
        let unmap = Unmap {
            task,
            iovas: iovas.clone(),
            notice: notice.id(),
        };
        self.unmaps.push(unmap, GFP_KERNEL_ACCOUNT).ok()?;
        Some(notice)
    }

    /// The thread with this notice has unmapped what it wanted to.
    pub(super) fn end_unmap(&mut self, notice: Id) {
        self.unmaps.retain(|unmap| unmap.notice != notice);
    }

    /// Sees to it that an unmap needs no memory.
    #[inline]
    fn prepare(&mut self) -> Result {
        if self.notice.is_none() {
            self.unmaps.reserve(1, GFP_KERNEL_ACCOUNT)?;
            self.notice = Some(UnmapNotifier::new()?);
        }
        Ok(())
    }

    fn place(&self, range: &Arc<Range>) -> Option<usize> {
        let place = range.place.load(Relaxed);
        let there = self.ranges.get(place)?;
        Arc::ptr_eq(there, range).then_some(place)
    }

    /// Returns whether `range` is in the table.
    pub(super) fn contains(&self, range: &Arc<Range>) -> bool {
        self.place(range).is_some()
    }

    /// Returns the last range in front of place `end` that has a page in `iovas`, and its place.
    ///
    /// Removing a range moves the last one to its place, so a search from the end to the beginning
    /// that goes on in front of the last hit misses none, whatever is removed meanwhile.
    pub(super) fn last_overlap(
        &self,
        end: usize,
        iovas: &RangeInclusive<u64>,
    ) -> Option<(usize, Arc<Range>)> {
        let end = end.min(self.ranges.len());
        let mut ranges = self.ranges.get(..end)?.iter();
        let place = ranges.rposition(|range| range.span.overlaps(PAGE_SIZE, iovas))?;
        Some((place, self.ranges.get(place)?.clone()))
    }

    /// Enters a range that is about to be pinned, which is a call: see
    /// [`begin_call`](Self::begin_call).
    pub(super) fn enter(&mut self, span: Span) -> Result<(Arc<Range>, Option<KernelThread>)> {
        // It is not mapped any more, though VFIO finds it for a moment still.
        let mut unmaps = self.unmaps.iter();
        if unmaps.any(|unmap| span.overlaps(PAGE_SIZE, &unmap.iovas)) {
            return Err(EINVAL);
        }
        self.prepare()?;
        let range = match self.recycled.take().and_then(Arc::into_unique_or_drop) {
            Some(mut recycled) => {
                *recycled.as_mut().project().span = span;
                recycled.into()
            }
            None => Arc::pin_init(
                pin_init!(Range {
                    span,
                    place: Atomic::new(0),
                    state <- new_mutex!(State::Busy, "mdev_range"),
                }),
                GFP_KERNEL_ACCOUNT,
            )?,
        };
        let thread = self.begin_call()?;
        range.place.store(self.ranges.len(), Relaxed);
        let entered = self.ranges.push(range.clone(), GFP_KERNEL_ACCOUNT);
        if let Err(error) = entered {
            if let Some(thread) = thread {
                self.end_call(thread);
            }
            return Err(error.into());
        }
        Ok((range, thread))
    }

    /// Removes `range`; the last one takes its place.
    pub(super) fn remove(&mut self, range: &Arc<Range>) {
        let Some(place) = self.place(range) else {
            return;
        };
        let Some(last) = self.ranges.pop() else {
            return;
        };
        self.recycled = match self.ranges.get_mut(place) {
            None => Some(last),
            Some(removed) => {
                last.place.store(place, Relaxed);
                Some(mem::replace(removed, last))
            }
        };
    }
}
