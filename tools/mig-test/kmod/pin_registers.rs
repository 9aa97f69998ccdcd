// SPDX-License-Identifier: GPL-2.0
//! The registers of the benchmarks' card, by their offset in BAR 0. Each has 32 bits, is
//! write-only, and must be written as a whole. `pin_rs.rs` and `pin_c.c` are two drivers of that
//! card.

/// The first page of the range, counted from IOVA 0.
pub const FIRST: u64 = 0x00;
/// Pages in the range.
pub const PAGES: u64 = 0x04;
/// Bytes to write at the beginning of a page, at most 256.
pub const BYTES: u64 = 0x08;
/// Write n: n times, pin the range, write to each of its pages, unpin.
pub const RUN: u64 = 0x0c;
/// The maximum of pages of a range for RUN.
pub const PAGES_MAX: u32 = 512;
