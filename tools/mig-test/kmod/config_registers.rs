// SPDX-License-Identifier: GPL-2.0
//! The registers of `config_rs.rs`, by their offset in BAR 0. They have 32 bits and are read-only,
//! unless stated otherwise; all are zero when the device is opened.

/// Bytes of BAR 0.
pub const SIZE: u32 = 0x1000;

/// How often `config_written` was called.
pub const CALLS: u64 = 0x00;
/// The offset that it was called with last.
pub const OFFSET: u64 = 0x04;
/// The length that it was called with last.
pub const LENGTH: u64 = 0x08;
/// The mailbox, of which a copy is made in `config_written`, `reset` and `restored`.
pub const MAILBOX: u64 = 0x0c;
/// How often the device was reset. It migrates.
pub const RESETS: u64 = 0x10;
/// What `Context::is_bus_master` was when the copy was made.
pub const MASTER: u64 = 0x14;
/// 32 bits, read-write: a write reads four bytes at this offset of configuration space, and fails
/// with the SDK's error; a read returns these bytes.
pub const PROBE: u64 = 0x18;
/// 64 bits, write-only: the IOVA for a call.
pub const IOVA: u64 = 0x20;
/// Write-only: makes one of the calls below. The write fails with the SDK's errors, and with ENOENT
/// if the call needs a pin.
pub const CALL: u64 = 0x28;

/// `GuestMemory::read` of a byte.
pub const READ: u32 = 1;
/// `GuestMemory::write` of a byte.
pub const WRITE: u32 = 2;
/// `GuestMemory::pin_write` of a byte; the device keeps the guard.
pub const PIN: u32 = 3;
/// `Pinned::read` of it.
pub const PINNED_READ: u32 = 4;
/// `Pinned::write` of it.
pub const PINNED_WRITE: u32 = 5;
/// Drops the guard.
pub const UNPIN: u32 = 6;
/// `GuestMemory::pin_dma` of a byte and `Pinned::start`; the guard is dropped.
pub const START: u32 = 7;

/// The bytes of the vendor-specific extended capability of the type `express`: the mailbox, which
/// the guest can write, and four bytes that it cannot.
pub const MAILBOX_BYTES: [u8; 8] = [0, 0, 0, 0, 0xa1, 0xa2, 0xa3, 0xa4];
/// The serial number of the type `express`.
pub const SERIAL: u64 = 0x0123_4567_89ab_cdef;
