// SPDX-License-Identifier: GPL-2.0

//! Pointers to the pages of a pinned range: a few of them in place, so that a small pin does not
//! allocate for them.

use super::vdev::MAX_PAGES;
use crate::base::raw;
use core::ptr;
use kernel::prelude::*;

/// How many are kept in place.
const FEW: usize = 2;

/// Pointers to the pages of a range. It owns the pointers and not the pages.
///
/// Every range has one, so its size counts: in place, they are where the vector would be.
pub(crate) enum Pages {
    /// Of a range that [fits in place](Pages::fit_in_place), or of none.
    Few([*mut raw::page; FEW]),
    /// Of a longer range.
    Many(KVVec<*mut raw::page>),
}

// SAFETY: A pinned page may be reached and unpinned from any thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Returns room for the pointers of a range that fits in place.
    pub(crate) fn few() -> Self {
        Pages::Few([ptr::null_mut(); FEW])
    }

    /// Returns whether the pointers of a range of `total` pages fit in place.
    #[inline]
    pub(crate) fn fit_in_place(total: usize) -> bool {
        total <= FEW
    }

    /// Returns room for the pointers of a longer range: the memory of these, which are removed, if
    /// it is for no more than one call of VFIO needs.
    pub(crate) fn reused(self) -> Self {
        match self {
            Pages::Many(mut many) if many.capacity() <= MAX_PAGES => {
                many.clear();
                Pages::Many(many)
            }
            _ => Pages::Many(KVVec::new()),
        }
    }

    /// Returns room for `more` pointers after the present ones. A range that fits in place must be
    /// filled at once.
    pub(crate) fn room(&mut self, more: usize) -> Result<*mut *mut raw::page> {
        match self {
            Pages::Few(few) => Ok(few.as_mut_ptr()),
            Pages::Many(many) => {
                many.reserve(more, GFP_KERNEL_ACCOUNT)?;
                Ok(many.spare_capacity_mut().as_mut_ptr().cast())
            }
        }
    }

    /// Takes `count` pointers that were written to the room.
    ///
    /// # Safety
    ///
    /// The last [`room`](Self::room) must have been for at least `count`, and the caller must have
    /// written them.
    pub(crate) unsafe fn fill(&mut self, count: usize) {
        if let Pages::Many(many) = self {
            // SAFETY: The caller guarantees the capacity, and that the pointers are written.
            unsafe { many.inc_len(count) };
        }
    }

    /// Returns the pointers of a range of `total` pages.
    pub(crate) fn get(&self, total: usize) -> &[*mut raw::page] {
        match self {
            Pages::Few(few) => few.get(..total).unwrap_or(&[]),
            Pages::Many(many) => many,
        }
    }
}
