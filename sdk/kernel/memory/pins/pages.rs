// SPDX-License-Identifier: GPL-2.0

//! Pointers to the pages of a pinned range: a few of them in place, so that a small pin does not
//! allocate for them.

use super::vdev::MAX_PAGES;
use crate::base::raw;
use core::ptr;
use kernel::prelude::*;

/// How many are kept in place.
const FEW: usize = 2;

/// Pointers to pinned pages. It owns the pointers and not the pages.
pub(crate) struct Pages {
    few: [*mut raw::page; FEW],
    many: KVVec<*mut raw::page>,
}

// SAFETY: A pinned page may be reached and unpinned from any thread.
unsafe impl Send for Pages {}

impl Pages {
    pub(crate) fn new() -> Self {
        Self {
            few: [ptr::null_mut(); FEW],
            many: KVVec::new(),
        }
    }

    /// Returns whether the pointers of a range of `total` pages fit in place.
    #[inline]
    pub(crate) fn fit_in_place(total: usize) -> bool {
        total <= FEW
    }

    /// Removes the pointers, and keeps the memory for as many as one call of VFIO needs.
    pub(crate) fn emptied(mut self) -> Self {
        if self.many.capacity() > MAX_PAGES {
            return Self::new();
        }
        self.many.clear();
        self
    }

    /// Returns room for `more` pointers after the present ones, in a range of `total` pages. A
    /// range of at most [`FEW`] pages must be filled at once.
    pub(crate) fn room(&mut self, total: usize, more: usize) -> Result<*mut *mut raw::page> {
        if Self::fit_in_place(total) {
            return Ok(self.few.as_mut_ptr());
        }
        self.many.reserve(more, GFP_KERNEL_ACCOUNT)?;
        Ok(self.many.spare_capacity_mut().as_mut_ptr().cast())
    }

    /// Takes `count` pointers that were written to the room.
    ///
    /// # Safety
    ///
    /// The last [`room`](Self::room) must have been for at least `count`, and the caller must have
    /// written them.
    pub(crate) unsafe fn fill(&mut self, count: usize) {
        if self.many.capacity() > 0 {
            // SAFETY: The caller guarantees the capacity, and that the pointers are written.
            unsafe { self.many.inc_len(count) };
        }
    }

    /// Returns the pointers of a range of `total` pages.
    pub(crate) fn get(&self, total: usize) -> &[*mut raw::page] {
        match self.few.get(..total) {
            Some(few) => few,
            None => &self.many,
        }
    }
}
