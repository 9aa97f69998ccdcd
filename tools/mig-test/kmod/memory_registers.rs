// SPDX-License-Identifier: GPL-2.0
//! The registers of `memory_rs.rs`, by their place in a channel of BAR 0, of which there are four. They
//! are written only and have 64 bits, unless it says something else.

/// Channels: each has arguments, a buffer and a guard of its own.
pub const CHANNELS: usize = 4;
/// Bytes from one channel to the next.
pub const CHANNEL: u64 = 0x4000;

/// Where in guest memory.
pub const IOVA: u64 = 0x00;
/// How many bytes.
pub const LENGTH: u64 = 0x08;
/// For what begins with KEPT: where in the kept range. For PIN_OFTEN: how often. For PIN_DMA: how many
/// milliseconds it takes to stop the hardware.
pub const OFFSET: u64 = 0x10;
/// 32 bits: makes a call, of those below. ENOENT for what needs a kept range of another kind, E2BIG for
/// more bytes than the buffer has, otherwise the SDK's errors.
pub const CALL: u64 = 0x18;
/// 32 bits, read only, in every channel: how often hardware was stopped since the device was created.
pub const STOPS: u64 = 0x1c;
/// 32 bits, read only: pages that KEPT_WALK has come by, or pins that PIN_OFTEN has made.
pub const WALKED: u64 = 0x20;
/// 64 bits, write only, in every channel: where the next open of the device pins a page with `pin_dma`; it
/// goes on when that page was taken away. 0 is nowhere.
pub const AT_OPEN: u64 = 0x28;
/// To the end of the channel: bytes that are copied.
pub const BUFFER: u64 = 0x2000;

/// `GuestMemory::read` into the buffer.
pub const READ: u32 = 1;
/// `GuestMemory::write` from the buffer.
pub const WRITE: u32 = 2;
/// `GuestMemory::pin_read`; the channel keeps the guard, and drops the one it had.
pub const PIN_READ: u32 = 3;
/// The same with `pin_write`.
pub const PIN_WRITE: u32 = 4;
/// The same with `pin_dma`; what stops the hardware counts in STOPS.
pub const PIN_DMA: u32 = 5;
/// Drops the guard.
pub const UNPIN: u32 = 6;
/// `Pinned::read` into the buffer.
pub const KEPT_READ: u32 = 7;
/// `Pinned::write` from the buffer; after PIN_WRITE.
pub const KEPT_WRITE: u32 = 8;
/// `Pinned::for_each_page`; after PIN_DMA.
pub const KEPT_WALK: u32 = 9;
/// `pin_write` and the end of its guard at once, OFFSET times. WALKED is how often it succeeded.
pub const PIN_OFTEN: u32 = 10;
