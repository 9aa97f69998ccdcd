// SPDX-License-Identifier: GPL-2.0

//! How ranges of bytes lie in pages: which pages hold one, where it is cut, and which of two
//! overlap.
//!
//! A size of a page is a power of two, the same in all calls, and known to the compiler where it
//! counts: everything here is inlined, so that no division is left.

use core::ops::{Range, RangeInclusive};

/// A part of a range of bytes that is inside of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The page's number.
    pub page: usize,
    /// Where in the page it begins.
    pub offset: usize,
    /// Which bytes of the range it is.
    pub bytes: Range<usize>,
}

/// Cuts the `len` bytes at `offset` at the boundaries of pages. Their sum must not overflow.
#[inline]
pub fn pieces(page_size: usize, offset: usize, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    core::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done;
        let begin = done;
        done += (page_size - at % page_size).min(len - done);
        Some(Piece {
            page: at / page_size,
            offset: at % page_size,
            bytes: begin..done,
        })
    })
}

/// Whole pages of an address space of 64 bits, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first page's address.
    pub start: u64,
    /// How many there are.
    pub pages: usize,
}

impl Span {
    /// Returns the pages that hold `len` bytes from `address` on; `None` if there is no byte, or
    /// they wrap around.
    #[inline]
    pub fn of(page_size: usize, address: u64, len: usize) -> Option<Self> {
        let size = page_size as u64;
        let last = address.checked_add((len as u64).checked_sub(1)?)?;
        let more = usize::try_from(last / size - address / size).ok()?;
        Some(Span {
            start: address - address % size,
            pages: more.checked_add(1)?,
        })
    }

    /// Returns the last byte's address.
    #[inline]
    pub fn last(&self, page_size: usize) -> u64 {
        // The first byte of the last page and the rest of it: a sum that fits even for all of
        // memory.
        self.start + (self.pages as u64 - 1) * page_size as u64 + (page_size as u64 - 1)
    }

    /// Returns whether the span has a byte in common with `addresses`.
    #[inline]
    pub fn overlaps(&self, page_size: usize, addresses: &RangeInclusive<u64>) -> bool {
        self.start <= *addresses.end() && *addresses.start() <= self.last(page_size)
    }

    /// Returns the numbers of the pages that hold `len` bytes from `offset` of the span on; `len`
    /// must not be 0.
    #[inline]
    pub fn numbers(&self, page_size: usize, offset: usize, len: usize) -> RangeInclusive<u64> {
        let first = self.start / page_size as u64;
        let number = |offset: usize| first + (offset / page_size) as u64;
        number(offset)..=number(offset + (len - 1))
    }

    /// Returns the numbers of all its pages.
    #[inline]
    pub fn all_numbers(&self, page_size: usize) -> RangeInclusive<u64> {
        let first = self.start / page_size as u64;
        first..=first + (self.pages as u64 - 1)
    }
}
