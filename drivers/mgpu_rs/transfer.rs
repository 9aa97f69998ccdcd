// SPDX-License-Identifier: GPL-2.0

//! Copies of rows, split into pieces so that they can stop after each: COPY (one row) and BLIT.

use core::num::NonZeroU32;

use crate::{error::Error, memory::Place};

/// The rows of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) place: Place,
    /// Bytes from the start of one row to the start of the next.
    pub(crate) stride: u32,
}

/// A checked copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    dst: Side,
    src: Side,
    width: NonZeroU32,
    height: u32,
    /// Whether to copy from the last byte to the first, because the destination overlaps the
    /// source's end.
    backwards: bool,
}

/// A piece that is contiguous on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) dst: Place,
    pub(crate) src: Place,
    pub(crate) len: usize,
}

impl Transfer {
    /// Creates a transfer of `height` rows of `width` bytes. Both must be at least 1, their product
    /// must fit 32 bits, and strides must not be below the width.
    pub(crate) fn new(
        dst: Side,
        src: Side,
        width: u32,
        height: u32,
        vram_size: u32,
    ) -> Result<Self, Error> {
        let nonzero_width = NonZeroU32::new(width).ok_or(Error::Length)?;
        let span = |side: Side| u64::from(height - 1) * u64::from(side.stride) + u64::from(width);
        dst.place.check(span(dst), vram_size)?;
        src.place.check(span(src), vram_size)?;

        let last = |side: Side| side.place.at + (span(side) - 1);
        let overlaps = dst.place.space == src.place.space
            && dst.place.at <= last(src)
            && src.place.at <= last(dst);
        // With equal strides every byte moves by the same distance, so there is an order in which
        // no byte is overwritten before it was read.
        if overlaps && dst.stride != src.stride {
            return Err(Error::Overlap);
        }
        Ok(Transfer {
            dst,
            src,
            width: nonzero_width,
            height,
            backwards: overlaps && dst.place.at > src.place.at,
        })
    }

    /// Returns the number of bytes to copy.
    pub(crate) fn len(&self) -> u32 {
        self.width.get() * self.height
    }

    /// Returns the piece after `done` bytes (fewer than all): at least one byte, at most `max`.
    pub(crate) fn piece(&self, done: u32, max: usize) -> Piece {
        let width = self.width;
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let (row, column, len) = if self.backwards {
            let last = self.len() - done - 1;
            let end = last % width + 1;
            let len = max.min(end);
            (last / width, end - len, len)
        } else {
            let column = done % width;
            (done / width, column, max.min(width.get() - column))
        };
        let at = |side: Side| {
            let offset = u64::from(row) * u64::from(side.stride) + u64::from(column);
            side.place.plus(offset)
        };
        Piece {
            dst: at(self.dst),
            src: at(self.src),
            len: len as usize,
        }
    }
}
