// SPDX-License-Identifier: GPL-2.0

//! The pinned ranges of an open device, and how they are taken back when user space unmaps them.
//!
//! A device must have unpinned a range when its `dma_unmap` callback returns: type1 checks at most
//! eleven times and then calls `BUG()`. So a range is in the table from before its first page is
//! pinned until after its last page is unpinned, and the callback waits for a pin or an unpin in
//! another thread. That thread needs type1's `iommu->lock`, which is released around the callback
//! (Documentation/threat-model.md says who may hold it forever); a pin can also wait for user space
//! to provide the memory. No lock of this module is held across a call into VFIO.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h); `vfio_dma_do_unmap()` in
//! [`vfio_iommu_type1.c`](srctree/drivers/vfio/vfio_iommu_type1.c)

mod activity;
mod copy;
mod dma;
mod hardware;
mod pages;
mod range;
mod refusal;
mod table;
mod unmap;
mod vdev;

use super::dirty_log::Log;
use crate::base::{raw, trace, wait::KernelThread};
use activity::Activity;
use core::{mem::MaybeUninit, ops::RangeInclusive, ptr::NonNull};
pub(crate) use dma::DmaParent;
pub(super) use hardware::Hardware;
use kernel::{
    device::Device,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex, UniqueArc},
};
use mdev_model::paging::Span;
use pages::Pages;
pub(super) use range::Range;
use refusal::Refusal;
use table::Table;
use unmap::Id;
use vdev::Vdev;

/// The guest memory that a device reaches while it is open.
///
/// It lives as long as the mdev, because an unmap that began while the device was open may still
/// be under way when the device is opened again.
///
/// # Invariants
///
/// - VFIO is called for `vdev` only for a range in the table, or for a copy under way.
/// - Both begin only between [`open`](Self::open) and [`close`](Self::close). A range leaves the
///   table only after it is unpinned, and `close` returns only when there is neither. `close` is
///   called before `close_device` returns, so `vdev` is open during every call.
#[pin_data]
pub(crate) struct Pins {
    vdev: Vdev,
    /// For ranges of hardware, if the parent has any.
    parent: Option<DmaParent>,
    #[pin]
    table: Mutex<Table>,
    #[pin]
    activity: Activity,
    #[pin]
    pub(crate) log: Log,
}

/// Memory for a [`Pins`] whose VFIO device does not exist yet.
pub(crate) struct Room(UniqueArc<MaybeUninit<Pins>>);

impl Room {
    /// Allocates the memory.
    pub(crate) fn new() -> Result<Self> {
        Ok(Room(UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?))
    }
}

/// What debugfs shows of the pins.
pub(crate) struct Summary {
    /// The number of ranges that are pinned, or about to be.
    pub(crate) ranges: usize,
    /// The number of their pages; a page of two ranges counts twice.
    pub(crate) pages: usize,
    /// Whether the device is quiesced, so that accesses are refused.
    pub(crate) quiesced: bool,
    /// Whether the DMA log is started.
    pub(crate) logged: bool,
}

impl Pins {
    /// Returns a summary of the pins.
    pub(crate) fn summary(&self) -> Summary {
        let table = self.table.lock();
        Summary {
            ranges: table.ranges.len(),
            pages: table.ranges.iter().map(|range| range.span.pages).sum(),
            quiesced: table.refusals().has(Refusal::Quiesced),
            logged: self.log.is_started(),
        }
    }

    /// Creates the pins of `vdev`, of which there are none; ranges for hardware are mapped for
    /// `parent`.
    ///
    /// # Safety
    ///
    /// `vdev` must be a VFIO device; [`open`](Self::open) must be called only while it is being
    /// opened, and [`close`](Self::close) before it is closed.
    pub(crate) unsafe fn new(
        room: Room,
        vdev: NonNull<raw::vfio_device>,
        parent: Option<DmaParent>,
    ) -> Arc<Self> {
        let Ok(pins) = room.0.pin_init_with(pin_init!(Self {
            vdev: Vdev::new(vdev),
            parent,
            table <- new_mutex!(Table::new(), "mdev_pins"),
            activity <- Activity::new(),
            log <- Log::new(),
        }));
        pins.into()
    }

    /// Allows pins and copies of the device, which is being opened, and returns the number of this
    /// opening. [`pin`](Self::pin) and [`copy`](Self::copy) return ENODEV for any other number.
    ///
    /// If the device `needs_bus_master`, they are refused until it is.
    pub(crate) fn open(&self, needs_bus_master: bool) -> u64 {
        let mut table = self.table.lock();
        table.set_refusal(Refusal::Quiesced, false);
        table.set_refusal(Refusal::NotMaster, needs_bus_master);
        table.open()
    }

    /// Ends accesses to guest memory: none is under way when this returns, and each fails with
    /// EBUSY until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before those under way are over; accesses are allowed then.
    pub(crate) fn quiesce(&self) -> Result {
        self.table.lock().set_refusal(Refusal::Quiesced, true);
        let idle = self.activity.wait_killable(|| self.activity.is_idle());
        idle.inspect_err(|_| self.resume())
    }

    /// Allows accesses again, after [`quiesce`](Self::quiesce).
    pub(crate) fn resume(&self) {
        self.table.lock().set_refusal(Refusal::Quiesced, false);
    }

    /// Allows accesses if the device `is_master`, or refuses them with EIO; those under way end. It
    /// is asked with the table locked, so the last of several threads finds the newest value.
    pub(crate) fn set_bus_master(&self, is_master: impl FnOnce() -> bool) {
        let mut table = self.table.lock();
        table.set_refusal(Refusal::NotMaster, !is_master());
    }

    /// Begins a pin or a copy of the opening with the number `opening`.
    fn begin(&self, table: &Table, opening: u64) -> Result {
        table.check(opening)?;
        self.activity.begin();
        Ok(())
    }

    /// Pins the pages of `len` bytes at `iova`; for `hardware`, if there is any.
    pub(super) fn pin(
        &self,
        opening: u64,
        iova: u64,
        len: usize,
        prot: u32,
        hardware: Option<Hardware>,
    ) -> Result<Arc<Range>> {
        let span = Span::of(PAGE_SIZE, iova, len).ok_or(EINVAL)?;
        let (range, thread) = {
            let mut table = self.table.lock();
            self.begin(&table, opening)?;
            table.enter(span).inspect_err(|_| self.activity.end())?
        };
        let mut pages = match Pages::fit_in_place(range.span.pages) {
            true => Pages::few(),
            false => range.state.lock().spare_pages(),
        };
        let pinned = self.pin_pages(&range, prot, &mut pages);
        self.end_call(thread);
        let result = match (pinned, hardware) {
            (Ok(()), None) => {
                range.state.lock().pinned(pages);
                if trace::pin_is_on() {
                    self.trace_pin(&range.span, 0);
                }
                Ok(range)
            }
            (Ok(()), Some(hardware)) => self.admit(hardware, range, pages, iova, len),
            (Err(error), _) => self.give_up(&range, error),
        };
        self.activity.end();
        result
    }

    /// Forgets `range`, of which nothing is pinned because of an `error`.
    #[cold]
    fn give_up(&self, range: &Arc<Range>, error: Error) -> Result<Arc<Range>> {
        self.table.lock().remove(range);
        self.trace_pin(&range.span, error.to_errno());
        Err(error)
    }

    #[cold]
    fn trace_pin(&self, span: &Span, error: i32) {
        trace::pin(self.device(), span.start, span.pages as u64, error);
    }

    /// Returns the mdev's device.
    fn device(&self) -> &Device {
        // SAFETY: VFIO calls only while the mdev lives, and a range in the table keeps it open.
        unsafe { self.vdev.device() }
    }

    /// Ends the call into VFIO of this thread, if it is `thread`.
    #[inline]
    fn end_call(&self, thread: Option<KernelThread>) {
        if let Some(thread) = thread {
            self.table.lock().end_call(thread);
        }
    }

    /// Pins all of `range` and fills `pages`, or pins nothing of it after an error.
    #[inline(always)]
    fn pin_pages(&self, range: &Range, prot: u32, pages: &mut Pages) -> Result {
        // SAFETY: `range` is in the table, so `vdev` is open by the type invariant.
        unsafe { self.vdev.pin(&range.span, prot, pages) }
    }

    #[inline(always)]
    fn unpin_pages(&self, range: &Range) {
        // SAFETY: `range` is in the table, so `vdev` is open by the type invariant; its pages were
        // pinned, and are unpinned once.
        unsafe { self.vdev.unpin(range.span.start, range.span.pages) }
    }

    /// Unpins `range`, from which the caller has taken the `hardware`; stops it first if it may be
    /// `running`.
    #[inline(always)]
    fn unpin(&self, range: &Arc<Range>, hardware: Option<Hardware>, running: bool) {
        match hardware {
            None => self.unpin_and_forget(range),
            Some(hardware) => self.dismiss(hardware, range, running),
        }
    }

    /// Unpins `range`, which no hardware uses, and removes it from the table.
    #[inline(always)]
    fn unpin_and_forget(&self, range: &Arc<Range>) {
        self.unpin_pages(range);
        self.forget(range);
        if trace::unpin_is_on() {
            let Span { start, pages, .. } = range.span;
            trace::unpin(self.device(), start, pages as u64, 0);
        }
    }

    /// Unpins `range`, whose guard is dropped, or waits until another thread has done so.
    pub(crate) fn release(&self, range: &Arc<Range>) {
        let live = range.state.lock().take();
        if let Some(hardware) = live {
            return self.unpin(range, hardware, false);
        }
        // Another thread has unpinned it, or is doing so.
        self.activity.wait(|| !self.table.lock().contains(range));
    }

    /// Removes `range`, which is unpinned, from the table.
    fn forget(&self, range: &Arc<Range>) {
        self.table.lock().remove(range);
        self.activity.changed();
    }

    /// Waits until `done`. If this thread is killed meanwhile, kernel threads no longer wait for
    /// user space on behalf of this device: the process that is killed may have to serve them.
    fn wait_or_interrupt(&self, mut done: impl FnMut() -> bool) {
        if self.activity.wait_killable(&mut done).is_err() {
            self.table.lock().interrupt();
            self.activity.wait(done);
        }
    }

    /// Calls `wait`. Until it returns, calls of kernel threads fail with EINTR, those under way
    /// too: this thread is being killed, and its process may have to serve them.
    pub(crate) fn while_refusing(&self, wait: impl FnOnce()) {
        self.table.lock().refuse();
        wait();
        self.table.lock().allow();
    }

    /// Unpins everything in `iovas`, which user space unmaps. The device may be open, or not.
    ///
    /// Pins there are refused until this thread is back in user space.
    pub(crate) fn revoke(this: &Arc<Self>, iovas: &RangeInclusive<u64>) {
        trace::unmap(this.device(), *iovas.start(), *iovas.end());
        // First, so that a pin that has not seen it is in the table when that is searched.
        let notice = this.table.lock().begin_unmap(iovas);
        if let Some(notice) = notice {
            notice.post(this.clone());
        }
        this.take_back(iovas);
    }

    /// Ends the unmap with this `notice`: the system call that called [`revoke`](Self::revoke) is
    /// over.
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
            let live = range.state.lock().take();
            drop(table);
            match live {
                Some(hardware) => {
                    self.unpin(&range, hardware, true);
                    end = place;
                }
                None => {
                    self.wait_or_interrupt(|| {
                        !self.table.lock().contains(&range) || !range.state.lock().is_busy()
                    });
                    // It may still be there, and live.
                    end = place + 1;
                }
            }
        }
    }

    /// Ends pins, copies and the log of the device, which is being closed.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.close();
        // User space is going, and may never provide what kernel threads wait for.
        table.interrupt();
        drop(table);
        self.take_back(&(0..=u64::MAX));
        self.activity.wait(|| self.activity.is_idle());
        self.log.stop();
    }
}
