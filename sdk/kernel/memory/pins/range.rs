// SPDX-License-Identifier: GPL-2.0

//! A pinned range of guest memory, and accesses to it.

use super::{super::dirty_log::Log, hardware::Hardware, pages::Pages, refusal::Refusals};
use crate::base::raw;
use core::{mem, ptr::NonNull};
use kernel::{
    new_mutex,
    page::{BorrowedPage, Page, PAGE_SIZE},
    prelude::*,
    sync::{atomic::Atomic, Arc, Mutex},
};
use mdev_model::paging::{self, Piece, Span};

pub(super) struct State {
    /// Whether the range is pinned, and no thread unpins it.
    live: bool,
    /// Why accesses to it are refused: the table's, while the range is there, else none.
    pub(super) refusals: Refusals,
    /// The pages while the range is pinned, and the memory for them afterwards.
    pages: Pages,
    /// The hardware that uses the range while it is pinned.
    hardware: Option<Hardware>,
}

impl State {
    /// Of a range that is about to be pinned.
    fn new() -> Self {
        State {
            live: false,
            refusals: Refusals::NONE,
            pages: Pages::few(),
            hardware: None,
        }
    }

    /// Returns whether a thread is pinning or unpinning the range, or it is unpinned for good.
    pub(super) fn is_busy(&self) -> bool {
        !self.live
    }

    /// Takes the memory that a recycled range has for its pages, which are unpinned.
    pub(super) fn spare_pages(&mut self) -> Pages {
        mem::replace(&mut self.pages, Pages::few()).reused()
    }

    /// Makes the range live; no hardware uses it.
    #[inline]
    pub(super) fn pinned(&mut self, pages: Pages) {
        self.pages = pages;
        self.live = true;
    }

    /// Makes the range live, for `hardware`.
    pub(super) fn pinned_for(&mut self, hardware: Hardware, pages: Pages) {
        self.hardware = Some(hardware);
        self.pinned(pages);
    }

    /// Makes the range busy, if it is pinned, and returns its hardware.
    pub(super) fn take(&mut self) -> Option<Option<Hardware>> {
        mem::take(&mut self.live).then(|| self.hardware.take())
    }

    /// Returns `Ok` if the range is live; EFAULT if it was unmapped.
    #[inline]
    fn check(&self) -> Result {
        match self.live {
            true => Ok(()),
            false => Err(EFAULT),
        }
    }
}

/// A range of whole pages of guest memory that is pinned, was, or is about to be.
#[pin_data]
pub(crate) struct Range {
    pub(super) span: Span,
    /// Index in the table, if the range is there. Written with the table locked.
    pub(super) place: Atomic<usize>,
    #[pin]
    pub(super) state: Mutex<State>,
}

impl Range {
    /// Creates a range that is about to be pinned.
    pub(super) fn new(span: Span) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Range {
                span,
                place: Atomic::new(0),
                state <- new_mutex!(State::new(), "mdev_range"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

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

    /// Calls `each(address, len)` for the segments of the range as the hardware finds it. The range
    /// cannot be unmapped meanwhile.
    ///
    /// # Errors
    ///
    /// EFAULT if it was unmapped before; ENODEV if it is not mapped for hardware; else the error of
    /// `each`, at which it stops.
    pub(crate) fn with_segments(&self, each: impl FnMut(u64, usize) -> Result) -> Result {
        let state = self.state.lock();
        state.check()?;
        state.hardware.as_ref().ok_or(ENODEV)?.segments(each)
    }

    /// Calls `f` and returns its result. The range cannot be unmapped meanwhile.
    ///
    /// # Errors
    ///
    /// Without a call: EFAULT if the range was unmapped before; the error of a refusal.
    pub(crate) fn while_live<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        let state = self.state.lock();
        state.check()?;
        state.refusals.check()?;
        Ok(f())
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
        state.check()?;
        if !allowed {
            state.refusals.check()?;
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
