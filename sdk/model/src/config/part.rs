// SPDX-License-Identifier: GPL-2.0

//! A part of a BAR that user space can map, unlike registers.

use super::{Bar, BARS};
use core::ops::Range;

/// The bytes of a BAR that are memory, which user space can map.
///
/// # Examples
///
/// ```
/// use mdev_model::config::{Bar, Part};
///
/// let bars = Bar::memory32(0x4000).alone();
/// let part = Part { bar: 0, bytes: 0x1000..0x3000 };
/// assert_eq!(part.check(&bars, 4096, &[]), Ok(()));
/// assert_eq!(part.offset_of(0, 0x1008), Some(8));
/// assert_eq!(part.offset_of(0, 0x3000), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the BAR.
    pub bar: usize,
    /// Its bytes in the BAR.
    pub bytes: Range<u64>,
}

impl Part {
    /// Returns the offset in the part of an offset in a BAR; `None` if that is not in the part.
    #[inline]
    pub fn offset_of(&self, bar: usize, offset: u64) -> Option<u64> {
        let is_there = self.bar == bar && self.bytes.contains(&offset);
        is_there.then(|| offset - self.bytes.start)
    }

    /// Checks that the function with these BARs can have the part beside the `others`, on a machine
    /// with pages of `page_size` bytes.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn check<'a>(
        &self,
        bars: &[Bar; BARS],
        page_size: u64,
        others: impl IntoIterator<Item = &'a Part>,
    ) -> Result<(), &'static str> {
        let Range { start, end } = self.bytes;
        let Some(bar @ (Bar::Memory32 { .. } | Bar::Memory64 { .. })) = bars.get(self.bar) else {
            return Err("there is no such memory BAR");
        };
        if start >= end || start % page_size != 0 || end % page_size != 0 {
            return Err("offset and size must be multiples of the page size, and the size not 0");
        }
        if end > bar.size() {
            return Err("it must be within the BAR");
        }
        let overlaps = |other: &Part| {
            other.bar == self.bar && other.bytes.start < end && start < other.bytes.end
        };
        if others.into_iter().any(overlaps) {
            return Err("it must not overlap another part");
        }
        Ok(())
    }
}
