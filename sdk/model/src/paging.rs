// SPDX-License-Identifier: GPL-2.0

//! The pages of a range of bytes: which they are, where they cut the range, and whether ranges
//! overlap.
//!
//! The page size must be a power of two, and the same in all calls. It should be a constant: all
//! functions are inlined, so that no division is left.

use core::ops::{Range, RangeInclusive};

/// The part of a range of bytes that is in one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of the page.
    pub page: usize,
    /// The offset of the part in its page.
    pub offset: usize,
    /// The position of the part in the range.
    pub bytes: Range<usize>,
}

/// Cuts the `len` bytes at `offset` at page boundaries; `offset + len` must not overflow.
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

/// A run of whole pages in a 64-bit address space; it has at least one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The address of the first page.
    pub start: u64,
    /// The number of pages.
    pub pages: usize,
}

impl Span {
    /// Returns the pages that hold the `len` bytes at `address`, or `None` if `len` is 0 or the
    /// bytes wrap around.
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

    /// Returns the address of the last byte.
    #[inline]
    pub fn last(&self, page_size: usize) -> u64 {
        // The start of the last page plus the rest of it, because the exclusive end may overflow.
        self.start + (self.pages as u64 - 1) * page_size as u64 + (page_size as u64 - 1)
    }

    /// Returns whether the span and `addresses` have a byte in common.
    #[inline]
    pub fn overlaps(&self, page_size: usize, addresses: &RangeInclusive<u64>) -> bool {
        self.start <= *addresses.end() && *addresses.start() <= self.last(page_size)
    }

    /// Returns the numbers of the pages that hold the `len` bytes at `offset` of the span; `len`
    /// must not be 0.
    #[inline]
    pub fn numbers(&self, page_size: usize, offset: usize, len: usize) -> RangeInclusive<u64> {
        let first = self.start / page_size as u64;
        let number = |offset: usize| first + (offset / page_size) as u64;
        number(offset)..=number(offset + (len - 1))
    }

    /// Returns the numbers of all pages of the span.
    #[inline]
    pub fn all_numbers(&self, page_size: usize) -> RangeInclusive<u64> {
        let first = self.start / page_size as u64;
        first..=first + (self.pages as u64 - 1)
    }
}
