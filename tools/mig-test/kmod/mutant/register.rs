// SPDX-License-Identifier: GPL-2.0

//! The registers of the workbench in BAR 0, and the memory of BAR 1.
//!
//! All are little endian. An access of another width than named fails silently: a read gives 0, a
//! write is ignored.
//!
//! ROUNDS and COPY start a *job*. COPY copies between ADDRESS and the beginning of BAR 1, page by
//! page. A job sets DONE at its end, or ERROR if guest memory could not be accessed.

/// 32 bits, read-only: [`IDENTITY`].
pub const ID: u64 = 0x00;
/// 8 bits.
pub const BYTE: u64 = 0x04;
/// 16 bits.
pub const HALF: u64 = 0x06;
/// 32 bits.
pub const WORD: u64 = 0x08;
/// 64 bits, by 8 bytes or either half by 4.
pub const LONG: u64 = 0x10;
/// The upper half of [`LONG`].
pub const LONG_UPPER: u64 = 0x14;
/// 8 bits: a value below [`ENTRIES`]; another one is ignored.
pub const INDEX: u64 = 0x18;
/// 32 bits: the entry INDEX of a table.
pub const TABLE: u64 = 0x1c;
/// 32 bits: the state of a generator, see `round` in `device.rs`. 0 is stored as 1. Ignored
/// while BUSY.
pub const SEED: u64 = 0x20;
/// 32 bits, write-only: starts that many rounds of the generator. Ignored while BUSY.
pub const ROUNDS: u64 = 0x24;
/// 32 bits, read-only: [`BUSY`], [`DONE`] and [`ERROR`]. The last two assert the interrupt.
pub const STATUS: u64 = 0x28;
/// 32 bits, write-only: any value clears DONE and ERROR.
pub const CLEAR: u64 = 0x2c;
/// 64 bits: an IOVA that is aligned to a page; another one is ignored. Ignored while BUSY.
pub const ADDRESS: u64 = 0x30;
/// 32 bits: the number of pages of a copy, 1 to [`PAGES_MAX`]; another one is ignored.
pub const PAGES: u64 = 0x38;
/// 32 bits, write-only: [`TO_DEVICE`] or [`TO_GUEST`] starts a copy. Ignored while BUSY.
pub const COPY: u64 = 0x3c;
/// 32 bits, read-only: the rounds or pages of the job that are done.
pub const PROGRESS: u64 = 0x40;
/// 32 bits, read-only: the number of jobs that have ended since the reset.
pub const JOBS: u64 = 0x44;
/// 32 bits, read-only: the number of steps of jobs since the reset. No work looks at it.
pub const STEPS: u64 = 0x48;

/// The value of ID.
pub const IDENTITY: u32 = 0x4d55_5401;
/// STATUS: a job has begun and not ended.
pub const BUSY: u32 = 1;
/// STATUS: a job has ended.
pub const DONE: u32 = 2;
/// STATUS: a job has failed.
pub const ERROR: u32 = 4;
/// COPY: from guest memory to BAR 1.
pub const TO_DEVICE: u32 = 1;
/// COPY: from BAR 1 to guest memory.
pub const TO_GUEST: u32 = 2;

/// The entries of the table.
pub const ENTRIES: usize = 16;
/// The maximum of PAGES.
pub const PAGES_MAX: u32 = 16;
/// The size in bytes of a page of a copy, and of a record of memory.
pub const PAGE: usize = 4096;
/// The size of BAR 0 in bytes.
pub const REGISTERS_SIZE: usize = 4096;
/// The size of BAR 1 in bytes.
pub const MEMORY_SIZE: usize = PAGES_MAX as usize * PAGE;
/// The rounds of one step of a job.
pub const ROUNDS_PER_STEP: u32 = 64;
