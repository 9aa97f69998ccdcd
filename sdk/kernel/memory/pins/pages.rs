// SPDX-License-Identifier: GPL-2.0

//! Pointers to the pages of a pinned range: few of them in place, so that a small pin allocates
//! once.

use crate::base::raw;
use core::ptr;
use kernel::prelude::*;

/// How many are kept in place.
const FEW: usize = 4;

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

    /// Room for `more` pointers behind those there are, in a range of `total` pages. A range of a
    /// few is filled at once.
    pub(crate) fn room(&mut self, total: usize, more: usize) -> Result<*mut *mut raw::page> {
        if total <= FEW {
            return Ok(self.few.as_mut_ptr());
        }
        self.many.reserve(more, GFP_KERNEL_ACCOUNT)?;
        Ok(self.many.spare_capacity_mut().as_mut_ptr().cast())
    }

    /// `count` pointers were written to the room.
    ///
    /// # Safety
    ///
    /// They were, and the last [`room`](Self::room) was for at least as many.
    pub(crate) unsafe fn fill(&mut self, count: usize) {
        if self.many.capacity() > 0 {
            // SAFETY: By the function's contract.
            unsafe { self.many.inc_len(count) };
        }
    }

    /// The pointers of a range of `total` pages.
    pub(crate) fn get(&self, total: usize) -> &[*mut raw::page] {
        match self.few.get(..total) {
            Some(few) => few,
            None => &self.many,
        }
    }
}
