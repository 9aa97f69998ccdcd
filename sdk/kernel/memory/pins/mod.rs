// SPDX-License-Identifier: GPL-2.0

//! The pinned ranges of an open device, and how they are taken back when user space unmaps them.
//!
//! VFIO asks a device in its `dma_unmap` callback to have unpinned a range before it returns; type1
//! looks again at most ten times and then calls `BUG()`. So a range is in the table before its
//! first page is pinned and until its last one is unpinned, and the callback waits for a pin or an
//! unpin that is under way in another thread. That thread wants type1's `iommu->lock`, which is
//! released around the callback (Documentation/threat-model.md says who in the kernel may hold it
//! for ever all the same); pinning waits for user space to provide the memory, too. No lock of this
//! module is held across a call into VFIO.
//!
//! C header: `include/linux/vfio.h`; `vfio_dma_do_unmap()` in `drivers/vfio/vfio_iommu_type1.c`

mod pages;
mod table;
mod unmap;

use super::dirty_log::Log;
use crate::base::{
    compat::smp_mb,
    raw,
    wait::{KernelThread, WaitQueue},
};
use core::{
    mem::{self, MaybeUninit},
    ops::RangeInclusive,
    ptr::NonNull,
};
use kernel::{
    error::to_result,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed},
        Arc, Mutex, UniqueArc,
    },
};
use mdev_model::paging::Span;
use pages::Pages;
pub(super) use table::{Range, Stop};
use table::{State, Table};
use unmap::Id;

/// How many pages VFIO pins in one call.
const MAX_PAGES: usize = raw::VFIO_PIN_PAGES_MAX_ENTRIES as usize;

/// An open VFIO device, as far as guest memory is reached through it.
struct Vdev(NonNull<raw::vfio_device>);

// SAFETY: VFIO locks by itself; the pointer is used only as `Pins` says.
unsafe impl Send for Vdev {}
// SAFETY: As above.
unsafe impl Sync for Vdev {}

/// The guest memory that a device reaches while it is open.
///
/// It lasts as long as the mdev, because an unmap that began while the device was open may still be
/// under way when it is opened again.
///
/// # Invariants
///
/// VFIO is called for `vdev` only on behalf of an entry in the table, which is a range, or a copy.
/// Entries are made between [`open`](Self::open) and [`close`](Self::close) alone. A range leaves
/// the table only when it is unpinned, and `close` returns only when there is no entry any more. It
/// is called before `close_device` returns, so the VFIO device is open during every call.
#[pin_data]
pub(crate) struct Pins {
    vdev: Vdev,
    #[pin]
    table: Mutex<Table>,
    /// Whether the device is quiesced. Written with the table locked.
    quiesced: Atomic<bool>,
    /// How many pins and copies are under way. Increased with the table locked.
    under_way: Atomic<usize>,
    /// A range has become live or has left the table, or a pin or a copy is over.
    #[pin]
    changed: WaitQueue,
    /// How many threads wait for that.
    waiting: Atomic<usize>,
    #[pin]
    pub(crate) log: Log,
}

/// Memory for [`Pins`], whose VFIO device is not there yet.
pub(crate) struct Room(UniqueArc<MaybeUninit<Pins>>);

impl Room {
    pub(crate) fn new() -> Result<Self> {
        Ok(Room(UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?))
    }
}

impl Pins {
    /// # Safety
    ///
    /// `vdev` must be a VFIO device; [`open`](Self::open) must be called only when it is being
    /// opened, and [`close`](Self::close) before it is closed.
    pub(crate) unsafe fn new(room: Room, vdev: NonNull<raw::vfio_device>) -> Arc<Self> {
        let Ok(pins) = room.0.pin_init_with(pin_init!(Self {
            vdev: Vdev(vdev),
            table <- new_mutex!(Table::new(), "mdev_pins"),
            quiesced: Atomic::new(false),
            under_way: Atomic::new(0),
            changed <- WaitQueue::new(),
            waiting: Atomic::new(0),
            log <- Log::new(),
        }));
        pins.into()
    }

    /// The device is being opened. Returns the number of this time, which [`pin`](Self::pin) and
    /// [`copy`](Self::copy) want to hear: what remembers another one gets ENODEV.
    pub(crate) fn open(&self) -> u64 {
        let mut table = self.table.lock();
        self.quiesced.store(false, Relaxed);
        table.open()
    }

    /// Stops the device's accesses to guest memory: none is under way when this returns, and each
    /// gets EBUSY until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before those under way are over; the device is not quiesced
    /// then.
    pub(crate) fn quiesce(&self) -> Result {
        let table = self.table.lock();
        self.quiesced.store(true, Relaxed);
        // A guard asks with its range locked, so it is through, or is refused.
        table.ranges.iter().for_each(|r| drop(r.state.lock()));
        drop(table);
        self.waiting.fetch_add(1, Full);
        let result = self.changed.wait_killable(|| self.is_idle());
        self.waiting.fetch_sub(1, Full);
        result.inspect_err(|_| self.resume())
    }

    /// Allows accesses again.
    pub(crate) fn resume(&self) {
        let _table = self.table.lock();
        self.quiesced.store(false, Relaxed);
    }

    /// Refuses an access of a quiesced device.
    #[inline]
    pub(super) fn check_running(&self) -> Result {
        match self.quiesced.load(Relaxed) {
            true => Err(EBUSY),
            false => Ok(()),
        }
    }

    /// Begins a pin or a copy, with the table locked.
    fn begin(&self, table: &Table, opening: u64) -> Result {
        if !table.is_open(opening) {
            return Err(ENODEV);
        }
        self.check_running()?;
        self.under_way.add(1, Relaxed);
        Ok(())
    }

    /// A pin or a copy is over.
    fn end(&self) {
        // Orders what the access has changed before the look at who waits.
        self.under_way.fetch_sub(1, Full);
        self.wake_waiting();
    }

    /// Returns whether no pin and no copy is under way.
    fn is_idle(&self) -> bool {
        self.under_way.load(Acquire) == 0
    }

    /// Pins the pages that hold `len` bytes from `iova` on; for hardware, if there is a `stop`.
    pub(super) fn pin(
        &self,
        opening: u64,
        iova: u64,
        len: usize,
        prot: u32,
        stop: Option<Stop>,
    ) -> Result<Arc<Range>> {
        let span = Span::of(PAGE_SIZE, iova, len).ok_or(EINVAL)?;
        let (range, thread) = {
            let mut table = self.table.lock();
            self.begin(&table, opening)?;
            table.enter(span).inspect_err(|_| self.end())?
        };
        let pinned = self.pin_pages(&range, prot).and_then(|pages| {
            if stop.is_some() {
                self.log
                    .hold(&range.span.all_numbers(PAGE_SIZE))
                    .inspect_err(|_| self.unpin_pages(range.span.start, range.span.pages))?;
            }
            Ok(pages)
        });
        self.end_call(thread);
        let result = match pinned {
            Ok(pages) => {
                *range.state.lock() = State::Live(pages, stop);
                Ok(range)
            }
            Err(error) => {
                self.table.lock().remove(&range);
                Err(error)
            }
        };
        self.end();
        result
    }

    /// A thread's call into VFIO is over.
    #[inline]
    fn end_call(&self, thread: Option<KernelThread>) {
        if let Some(thread) = thread {
            self.table.lock().end_call(thread);
        }
    }

    /// Pins all of `range`; after an error nothing of it. A length may be the guest's, so there is
    /// never memory for more than one call ahead of what user space has really mapped.
    fn pin_pages(&self, range: &Range, prot: u32) -> Result<Pages> {
        let mut pages = Pages::new();
        let mut pinned = 0;
        let result = loop {
            let some = (range.span.pages - pinned).min(MAX_PAGES);
            if some == 0 {
                return Ok(pages);
            }
            let room = match pages.room(range.span.pages, some) {
                Ok(room) => room,
                Err(error) => break error,
            };
            let iova = range.span.start + (pinned * PAGE_SIZE) as u64;
            // SAFETY: By the invariant of `Pins`; `room` is for `some` pages.
            let done = unsafe {
                raw::vfio_pin_pages(
                    self.vdev.0.as_ptr(),
                    iova,
                    some as c_int,
                    prot as c_int,
                    room,
                )
            };
            let Ok(count) = usize::try_from(done) else {
                break unmapped(Error::from_errno(done));
            };
            // SAFETY: VFIO has written `count` pointers, of at most `some`.
            unsafe { pages.fill(count.min(some)) };
            pinned += count;
            if count != some {
                break EFAULT;
            }
        };
        self.unpin_pages(range.span.start, pinned);
        Err(result)
    }

    fn unpin_pages(&self, start: u64, pages: usize) {
        let mut first = 0;
        while first < pages {
            let some = (pages - first).min(MAX_PAGES);
            let iova = start + (first * PAGE_SIZE) as u64;
            // SAFETY: By the invariant of `Pins`; the pages were pinned and are unpinned once.
            unsafe { raw::vfio_unpin_pages(self.vdev.0.as_ptr(), iova, some as c_int) };
            first += some;
        }
    }

    /// Unpins `range`, which the caller has taken `live` from. Hardware that may use it still is
    /// stopped before, if `running` says so.
    fn unpin(&self, range: &Arc<Range>, live: State, running: bool) {
        if let State::Live(_, Some(stop)) = &live {
            if running {
                stop();
            }
            self.log.release(&range.span.all_numbers(PAGE_SIZE));
        }
        self.unpin_pages(range.span.start, range.span.pages);
        self.forget(range);
        // What hardware is stopped with may hold the guard, which waits for the range to be
        // forgotten.
        drop(live);
    }

    /// The guard of `range` is dropped; when this returns it is unpinned.
    pub(crate) fn release(&self, range: &Arc<Range>) {
        let live = mem::replace(&mut *range.state.lock(), State::Busy);
        if let State::Live(..) = &live {
            return self.unpin(range, live, false);
        }
        // It was revoked, or is being so.
        self.wait(|| !self.table.lock().contains(range));
    }

    /// Removes `range`, which is unpinned, from the table.
    fn forget(&self, range: &Arc<Range>) {
        self.table.lock().remove(range);
        // Orders the removal before the look at who waits.
        smp_mb();
        self.wake_waiting();
    }

    /// Has all who wait look again, after a full barrier behind what was changed: it pairs with the
    /// one between counting a thread in `waiting` and its first look.
    #[inline]
    fn wake_waiting(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.changed.wake_all();
        }
    }

    /// Waits until `done`.
    fn wait(&self, done: impl FnMut() -> bool) {
        self.waiting.fetch_add(1, Full);
        self.changed.wait(done);
        self.waiting.fetch_sub(1, Full);
    }

    /// Waits until `done`. If this thread is killed meanwhile, no kernel thread waits for user
    /// space on behalf of this device any more: it may be what the thread waits for, and be served
    /// by its process.
    fn wait_or_interrupt(&self, mut done: impl FnMut() -> bool) {
        self.waiting.fetch_add(1, Full);
        if self.changed.wait_killable(&mut done).is_err() {
            self.table.lock().interrupt();
            self.changed.wait(done);
        }
        self.waiting.fetch_sub(1, Full);
    }

    /// User space unmaps `iovas`: everything in there is unpinned when this returns, also while the
    /// device is being closed, and nothing is pinned before the thread is back in user space.
    pub(crate) fn revoke(this: &Arc<Self>, iovas: &RangeInclusive<u64>) {
        // Before the ranges are looked at: a pin that has not seen this is among them.
        let notice = this.table.lock().begin_unmap(iovas);
        if let Some(notice) = notice {
            notice.post(this.clone());
        }
        this.take_back(iovas);
    }

    /// The thread that has called [`revoke`](Self::revoke) is through with its system call.
    fn returned(&self, notice: Id) {
        self.table.lock().end_unmap(notice);
    }

    /// Unpins everything in `iovas`.
    fn take_back(&self, iovas: &RangeInclusive<u64>) {
        let mut end = usize::MAX;
        loop {
            let table = self.table.lock();
            let Some((place, range)) = table.last_overlap(end, iovas) else {
                return;
            };
            let live = mem::replace(&mut *range.state.lock(), State::Busy);
            drop(table);
            match live {
                State::Live(..) => {
                    self.unpin(&range, live, true);
                    end = place;
                }
                State::Busy => {
                    self.wait_or_interrupt(|| {
                        let is_busy = || matches!(*range.state.lock(), State::Busy);
                        !self.table.lock().contains(&range) || !is_busy()
                    });
                    // It may be there still, and live.
                    end = place + 1;
                }
            }
        }
    }

    /// The device is being closed: nothing is pinned and nobody copies when this returns, and
    /// nothing is logged.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.close();
        // User space may never provide what they wait for: it is going.
        table.interrupt();
        drop(table);
        self.take_back(&(0..=u64::MAX));
        self.wait(|| self.is_idle());
        self.log.stop();
    }

    /// `vfio_dma_rw()`: copies `len` bytes between `data` and guest memory at `iova`.
    ///
    /// # Safety
    ///
    /// `data` must be valid for reads of `len` bytes, and for writes too unless `write` is set.
    pub(super) unsafe fn copy(
        &self,
        opening: u64,
        iova: u64,
        data: *mut u8,
        len: usize,
        write: bool,
    ) -> Result {
        if len == 0 || iova.checked_add(len as u64 - 1).is_none() {
            return Err(EINVAL);
        }
        let thread = {
            let mut table = self.table.lock();
            self.begin(&table, opening)?;
            table.begin_call().inspect_err(|_| self.end())?
        };
        let mut done = 0;
        let mut result = Ok(());
        while done < len && result.is_ok() {
            let at = iova + done as u64;
            // A write that fails is not accounted, though a first part of it may have arrived. A
            // page arrives or does not, so a write is cut into pages.
            let some = match write {
                true => (PAGE_SIZE - at as usize % PAGE_SIZE).min(len - done),
                false => len,
            };
            let copy = || {
                // SAFETY: By the invariant of `Pins`; `done + some` is at most `len`, and for
                // `data` by the function's contract.
                to_result(unsafe {
                    raw::vfio_dma_rw(self.vdev.0.as_ptr(), at, data.add(done).cast(), some, write)
                })
                .map_err(unmapped)
            };
            let page = at / PAGE_SIZE as u64;
            result = match write {
                true => self.log.writing(&(page..=page), copy),
                false => copy(),
            };
            done += some;
        }
        self.end_call(thread);
        self.end();
        result
    }
}

/// What is not mapped is EINVAL with a container and ENOENT with iommufd: one of them for drivers.
fn unmapped(error: Error) -> Error {
    match error {
        ENOENT => EINVAL,
        other => other,
    }
}
