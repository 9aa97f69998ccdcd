// SPDX-License-Identifier: GPL-2.0
//! The registers of `memory_rs.rs`, by their offset in a channel of BAR 0, which has four channels.
//! They are write-only and have 64 bits, unless stated otherwise.

/// BARs 1 and 2 each have this many bytes of `DeviceMemory`, which is zero when the device is
/// opened.
pub const DEVICE_SIZE: usize = 0x1_0000;

/// Channels: each has arguments, a buffer and a guard of its own.
pub const CHANNELS: usize = 4;
/// Bytes from one channel to the next.
pub const CHANNEL: u64 = 0x4000;

/// The IOVA.
pub const IOVA: u64 = 0x00;
/// The number of bytes.
pub const LENGTH: u64 = 0x08;
/// For calls whose names begin with KEPT: the offset in the kept range. For PIN_OFTEN: the number
/// of pins. For PIN_DMA: the time in milliseconds to stop the hardware.
pub const OFFSET: u64 = 0x10;
/// 32 bits: makes one of the calls below. The write fails with ENOENT if the call needs a kept
/// range of another kind, E2BIG for more bytes than the buffer has, and otherwise with the SDK's
/// errors. Every call of `DeviceMemory` is for the memory of BAR 1; LENGTH is then the number of
/// bytes, and OFFSET the first byte.
pub const CALL: u64 = 0x18;
/// 32 bits, read-only, in every channel: the number of calls to stop the hardware since the device
/// was created.
pub const STOPS: u64 = 0x1c;
/// 32 bits, read-only: the number of pages of KEPT_WALK, the number of pins of PIN_OFTEN, or the
/// result of a call of `DeviceMemory`.
pub const WALKED: u64 = 0x20;
/// 64 bits, write-only, in every channel: the IOVA of a page that the next open of the device pins
/// with `pin_dma`; the open continues after the pin was revoked. 0 means none.
pub const AT_OPEN: u64 = 0x28;
/// 32 bits, write-only, in every channel: unless it is 0, BAR 2 has the memory of BAR 1 in the next
/// open of the device.
pub const ONE_MEMORY: u64 = 0x30;
/// The buffer for copied bytes, up to the end of the channel.
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
/// The same with `pin_dma_read`.
pub const PIN_DMA_READ: u32 = 22;
/// Drops the guard.
pub const UNPIN: u32 = 6;
/// `Pinned::read` into the buffer.
pub const KEPT_READ: u32 = 7;
/// `Pinned::write` from the buffer; after PIN_WRITE.
pub const KEPT_WRITE: u32 = 8;
/// `Pinned::for_each_page`; after PIN_DMA or PIN_DMA_READ, like the next one.
pub const KEPT_WALK: u32 = 9;
/// `Pinned::start`. Fails with ENXIO if the range has segments: the parent has no hardware.
pub const KEPT_START: u32 = 20;
/// Makes an engine whose step reads a byte of guest memory, kicks it, and keeps it until UNPIN.
pub const ENGINE: u32 = 21;
/// `pin_write` and an immediate drop of its guard, OFFSET times. WALKED is the number of successes.
pub const PIN_OFTEN: u32 = 10;
/// `pin_dma` of the range, OFFSET times; the channel keeps all the guards until UNPIN. WALKED is
/// the number of successes.
pub const PIN_MANY: u32 = 19;

/// `GuestArray::<Entry>::new` of LENGTH entries; the channel keeps it until UNPIN. The next
/// calls are for it; OFFSET is the index of the entry.
pub const ARRAY: u32 = 23;
/// The same with `new_read_only`.
pub const ARRAY_READ_ONLY: u32 = 24;
/// `GuestArray::read` into the buffer, encoded.
pub const ENTRY_READ: u32 = 25;
/// `GuestArray::write` from the buffer; not after ARRAY_READ_ONLY.
pub const ENTRY_WRITE: u32 = 26;
/// `GuestArray::read_field` of the entry's status. WALKED is the value.
pub const STATUS_READ: u32 = 27;
/// `GuestArray::write_field` of the entry's status, of LENGTH; not after ARRAY_READ_ONLY.
pub const STATUS_WRITE: u32 = 28;
/// `GuestArray::release`.
pub const ARRAY_RELEASE: u32 = 29;
/// `GuestMemory::read_value` of an entry at IOVA, into the buffer.
pub const VALUE_READ: u32 = 30;
/// `GuestMemory::write_value` of an entry, from the buffer.
pub const VALUE_WRITE: u32 = 31;

/// Bytes of an entry: 64 bits, 32 bits, the status of 16 bits, a byte, a flag, and 8 bytes.
pub const ENTRY_LEN: usize = 24;
/// Offset of the status in an entry.
pub const STATUS_AT: usize = 12;
/// Offset of the flag, which is 0 or 1.
pub const FLAG_AT: usize = 15;

/// `DeviceMemory::read` into the buffer.
pub const DEVICE_READ: u32 = 11;
/// `DeviceMemory::write` from the buffer.
pub const DEVICE_WRITE: u32 = 12;
/// `DeviceMemory::clear`.
pub const DEVICE_CLEAR: u32 = 13;
/// `DeviceMemory::start_tracking`.
pub const START_TRACKING: u32 = 14;
/// `DeviceMemory::take_dirty`, of at most LENGTH bytes. WALKED is the length of the run, or 0, and
/// the offset of its first byte is in the buffer, in 64 bits.
pub const TAKE_DIRTY: u32 = 15;
/// `DeviceMemory::dirty_bytes`.
pub const DIRTY_BYTES: u32 = 16;
/// `DeviceMemory::used_bytes`.
pub const USED_BYTES: u32 = 17;
/// `StagedMemory::write` of LENGTH bytes of the buffer to the beginning of each page whose bit is
/// set in OFFSET, and `StagedMemory::commit`. EINVAL is a refused write.
pub const STAGE_AND_COMMIT: u32 = 18;
