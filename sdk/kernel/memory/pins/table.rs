// SPDX-License-Identifier: GPL-2.0

//! The pinned ranges of guest memory, and the table of all of them.

use super::{
    super::dirty_log::Log,
    activity::Refusal,
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

/// Stops hardware that uses a range, before user space takes the range away.
pub(crate) type Stop = KBox<dyn Fn() + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A thread is pinning or unpinning the range, or it is unpinned for good.
    Busy,
    /// It is pinned.
    Live,
    /// It is pinned, and accesses are refused.
    Refused(Refusal),
}

pub(super) struct State {
    phase: Phase,
    /// The pages while the range is pinned, and the memory for them afterwards.
    pages: Pages,
    /// For a pinned range of hardware.
    stop: Option<Stop>,
}

impl State {
    /// Returns whether the range is busy.
    pub(super) fn is_busy(&self) -> bool {
        self.phase == Phase::Busy
    }

    /// Refuses or allows accesses to the range, if it is pinned.
    pub(super) fn refuse(&mut self, refusal: Option<Refusal>) {
        if self.phase != Phase::Busy {
            self.phase = refusal.map_or(Phase::Live, Phase::Refused);
        }
    }

    /// Takes the memory that a recycled range has for its pages, which are unpinned.
    pub(super) fn spare_pages(&mut self) -> Pages {
        mem::replace(&mut self.pages, Pages::new()).emptied()
    }

    /// Makes the range live, with this refusal of accesses.
    pub(super) fn pinned(&mut self, pages: Pages, stop: Option<Stop>, refusal: Option<Refusal>) {
        self.pages = pages;
        self.stop = stop;
        self.phase = refusal.map_or(Phase::Live, Phase::Refused);
    }

    /// Makes the range busy, if it is pinned, and returns how to stop its hardware.
    pub(super) fn take(&mut self) -> Option<Option<Stop>> {
        let pinned = mem::replace(&mut self.phase, Phase::Busy) != Phase::Busy;
        pinned.then(|| self.stop.take())
    }
}

/// A range of whole pages of guest memory that is pinned, was, or is about to be.
#[pin_data]
pub(crate) struct Range {
    pub(super) span: Span,
    /// Index in the table, if the range is there. Written with the table locked.
    place: Atomic<usize>,
    #[pin]
    pub(super) state: Mutex<State>,
}

impl Range {
    /// Calls `each(page)` for the pages of `len` bytes at `offset`, which must be in bounds. The
    /// range cannot be unmapped meanwhile.
    ///
    /// # Errors
    ///
    /// EFAULT if it was unmapped before.
    pub(crate) fn with_pages(
        &self,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&Page) -> Result,
    ) -> Result {
        self.with_pieces(offset, len, true, None, |page, _| {
            let page = NonNull::new(page).ok_or(EINVAL)?;
            // SAFETY: `with_pieces` keeps the page pinned during the call.
            let page = unsafe { BorrowedPage::from_raw(page) };
            each(&page)
        })
    }

    /// Calls `f` and returns its result. The range cannot be unmapped meanwhile.
    ///
    /// # Errors
    ///
    /// Without a call: EFAULT if the range was unmapped before; the error of a refusal.
    pub(crate) fn while_live<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        let state = self.state.lock();
        match state.phase {
            Phase::Live => Ok(f()),
            Phase::Refused(refusal) => Err(refusal.error()),
            Phase::Busy => Err(EFAULT),
        }
    }

    /// Calls `each(page, piece)` for the pieces of `len` bytes at `offset`, as above; if accesses
    /// are refused, only if that is `allowed`. With `written` they are marked as written there,
    /// before the range can be unmapped.
    ///
    /// # Errors
    ///
    /// EFAULT if the range was unmapped before; the error of a refusal.
    #[inline]
    pub(crate) fn with_pieces(
        &self,
        offset: usize,
        len: usize,
        allowed: bool,
        written: Option<&Log>,
        mut each: impl FnMut(*mut raw::page, Piece) -> Result,
    ) -> Result {
        let state = self.state.lock();
        match state.phase {
            Phase::Live => {}
            Phase::Refused(_) if allowed => {}
            Phase::Refused(refusal) => return Err(refusal.error()),
            Phase::Busy => return Err(EFAULT),
        }
        let pages = state.pages.get(self.span.pages);
        for piece in paging::pieces(PAGE_SIZE, offset, len) {
            each(*pages.get(piece.page).ok_or(EINVAL)?, piece)?;
        }
        if let Some(log) = written.filter(|log| len > 0 && log.is_started()) {
            log.mark(&self.span.numbers(PAGE_SIZE, offset, len));
        }
        Ok(())
    }
}

/// An unmap by a thread that is not back in user space.
struct Unmap {
    /// Address of the task, for comparison only.
    task: usize,
    iovas: RangeInclusive<u64>,
    notice: Id,
}

/// The pinned ranges of a device, and the calls and unmaps under way.
pub(super) struct Table {
    /// How often the device was opened.
    opened: u64,
    /// Whether ranges and copies may begin: while the device is being opened, and is open.
    open: bool,
    /// Kernel threads in a call of VFIO, one entry a call.
    calls: KVec<KernelThread>,
    /// Every range of which VFIO may have pinned a page, in no order.
    pub(super) ranges: KVec<Arc<Range>>,
    /// The range that left last, so that a device that pins for each command does not allocate.
    recycled: Option<Arc<Range>>,
    unmaps: KVec<Unmap>,
    /// How many threads have calls of kernel threads refused.
    refusing: usize,
    /// For the next unmap. It exists before anything is pinned, because an unmap must not fail.
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
            refusing: 0,
            notice: None,
        }
    }

    /// Allows ranges and copies, and returns the number of this opening.
    pub(super) fn open(&mut self) -> u64 {
        self.opened += 1;
        self.open = true;
        self.opened
    }

    /// Returns whether the device is open, and this is the opening with the number `opening`.
    pub(super) fn is_open(&self, opening: u64) -> bool {
        self.open && self.opened == opening
    }

    /// Begins a call into VFIO, which may wait for user space to provide memory.
    ///
    /// Returns this thread if it is one of the kernel, for [`end_call`](Self::end_call). A thread
    /// of user space can be killed by itself, and is not remembered.
    #[inline]
    pub(super) fn begin_call(&mut self) -> Result<Option<KernelThread>> {
        match KernelThread::current() {
            None => Ok(None),
            Some(thread) => self.remember(thread).map(|()| Some(thread)),
        }
    }

    #[cold]
    fn remember(&mut self, thread: KernelThread) -> Result {
        if self.refusing > 0 {
            return Err(EINTR);
        }
        Ok(self.calls.push(thread, GFP_KERNEL_ACCOUNT)?)
    }

    /// Ends the call of `thread`, which must be this one.
    #[cold]
    pub(super) fn end_call(&mut self, thread: KernelThread) {
        if let Some(index) = self.calls.iter().position(|call| *call == thread) {
            // The index is in bounds, so this cannot fail.
            let _ = self.calls.remove(index);
        }
        // With the table locked, so that a later interrupt is for the thread's next call.
        thread.end_interrupt();
    }

    /// Refuses calls of kernel threads, and interrupts those under way, until
    /// [`allow`](Self::allow).
    pub(super) fn refuse(&mut self) {
        self.refusing += 1;
        self.interrupt();
    }

    /// Ends a [`refuse`](Self::refuse).
    pub(super) fn allow(&mut self) {
        self.refusing -= 1;
    }

    /// Interrupts kernel threads that wait in a call, which then fails.
    pub(super) fn interrupt(&self) {
        for thread in self.calls.iter() {
            // SAFETY: The thread is alive: it removes its entry at the end of its call, with the
            // table locked.
            unsafe { thread.interrupt() };
        }
    }

    /// Refuses ranges and copies that have not begun.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.notice = None;
    }

    /// Begins an unmap of `iovas` by this thread, and returns the notice that must be posted.
    ///
    /// Returns `None` if the thread has unmapped something before in the same system call, and also
    /// if there is no memory. In the latter case nothing was pinned since the last unmap, but it
    /// can be pinned again before type1 asks once more.
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

    /// Ends the unmap with this `notice`.
    pub(super) fn end_unmap(&mut self, notice: Id) {
        self.unmaps.retain(|unmap| unmap.notice != notice);
    }

    /// Allocates what an unmap needs.
    #[inline]
    fn prepare(&mut self) -> Result {
        if self.notice.is_none() {
            self.unmaps.reserve(1, GFP_KERNEL_ACCOUNT)?;
            self.notice = Some(UnmapNotifier::new()?);
        }
        Ok(())
    }

    /// Returns the index of `range`, if it is in the table.
    fn place(&self, range: &Arc<Range>) -> Option<usize> {
        let place = range.place.load(Relaxed);
        let there = self.ranges.get(place)?;
        Arc::ptr_eq(there, range).then_some(place)
    }

    /// Returns whether `range` is in the table.
    pub(super) fn contains(&self, range: &Arc<Range>) -> bool {
        self.place(range).is_some()
    }

    /// Returns the last range before index `end` that has a page in `iovas`, and its index.
    ///
    /// A removal moves the last range to the index that becomes free, so a search from the end that
    /// continues before its last hit misses no range, whatever is removed meanwhile.
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

    /// Enters a range that is about to be pinned, and begins the call that pins it.
    ///
    /// # Errors
    ///
    /// EINVAL if the range is being unmapped; ENOMEM.
    pub(super) fn enter(&mut self, span: Span) -> Result<(Arc<Range>, Option<KernelThread>)> {
        // The device was asked to let go of it, although VFIO still finds it mapped.
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
                    state <- new_mutex!(
                        State { phase: Phase::Busy, pages: Pages::new(), stop: None },
                        "mdev_range"
                    ),
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

    /// Removes `range`; the last one takes its index.
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
