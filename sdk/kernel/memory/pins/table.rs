// SPDX-License-Identifier: GPL-2.0

//! The table of the pinned ranges of a device.

use super::{
    range::Range,
    refusal::{Refusal, Refusals},
    unmap::{Id, UnmapNotifier},
};
use crate::base::wait::KernelThread;
use core::{mem, ops::RangeInclusive};
use kernel::{
    current,
    page::PAGE_SIZE,
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};
use mdev_model::paging::Span;

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
    /// The number of the opening whose ranges and copies may begin: while the device is being
    /// opened, and is open. Else 0.
    opening: u64,
    /// Why they are refused.
    refusals: Refusals,
    /// Kernel threads in a call of VFIO, one entry a call.
    calls: KVec<KernelThread>,
    /// Every range of which VFIO may have pinned a page, in no order.
    pub(super) ranges: KVec<Arc<Range>>,
    /// The range that left last, so that a device that pins for each command does not allocate.
    /// It refuses nothing.
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
            opening: 0,
            refusals: Refusals::NONE,
            calls: KVec::new(),
            ranges: KVec::new(),
            recycled: None,
            unmaps: KVec::new(),
            refusing: 0,
            notice: None,
        }
    }

    /// Allows ranges and copies, unless they are refused, and returns the number of this opening.
    pub(super) fn open(&mut self) -> u64 {
        self.opened += 1;
        self.opening = self.opened;
        self.opening
    }

    /// Returns `Ok` if a range or a copy of the opening with the number `opening` may begin.
    ///
    /// # Errors
    ///
    /// ENODEV if that is not the present one; those of a [`Refusal`].
    #[inline]
    pub(super) fn check(&self, opening: u64) -> Result {
        match self.opening == opening {
            true => self.refusals.check(),
            false => Err(ENODEV),
        }
    }

    /// Returns why ranges and copies are refused.
    pub(super) fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Begins or ends a refusal of what has not begun, and of accesses to ranges. An access under
    /// way holds its range's lock, so it is over when this returns.
    pub(super) fn set_refusal(&mut self, refusal: Refusal, begins: bool) {
        self.refusals.set(refusal, begins);
        for range in self.ranges.iter() {
            range.state.lock().refusals = self.refusals;
        }
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
        self.opening = 0;
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
        match self.notice {
            Some(_) => Ok(()),
            None => self.allocate_notice(),
        }
    }

    #[cold]
    fn allocate_notice(&mut self) -> Result {
        self.unmaps.reserve(1, GFP_KERNEL_ACCOUNT)?;
        self.notice = Some(UnmapNotifier::new()?);
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

    /// Enters a range that is about to be pinned, and begins the call that pins it. It must be
    /// [allowed](Self::check).
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
            None => Range::new(span)?,
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
    #[inline]
    pub(super) fn remove(&mut self, range: &Arc<Range>) {
        let Some(place) = self.place(range) else {
            return;
        };
        let Some(last) = self.ranges.pop() else {
            return;
        };
        let removed = match self.ranges.get_mut(place) {
            None => last,
            Some(removed) => {
                last.place.store(place, Relaxed);
                mem::replace(removed, last)
            }
        };
        self.recycled = self.refusals.is_none().then_some(removed);
    }
}
