// SPDX-License-Identifier: GPL-2.0

//! The registers and the job of a workbench, and their encoding in a stream.
//!
//! The encoding is little endian and without padding, and each state has exactly one:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 1 | BYTE |
//! | 1 | 1 | INDEX |
//! | 2 | 2 | HALF |
//! | 4 | 4 | WORD |
//! | 8 | 8 | LONG |
//! | 16 | 64 | the table |
//! | 80 | 4 | SEED |
//! | 84 | 4 | DONE and ERROR of STATUS |
//! | 88 | 8 | ADDRESS |
//! | 96 | 4 | PAGES |
//! | 100 | 4 | PROGRESS |
//! | 104 | 4 | JOBS |
//! | 108 | 4 | the kind of the job: 0 none, 1 rounds, 2 copy to the device, 3 copy to the guest |
//! | 112 | 4 | the rounds or pages of the whole job; 0 if there is none |
//! | 116 | 4 | STEPS |

use mdev_model::record::require;

use super::{
    defect::Defect,
    register::{DONE, ENTRIES, ERROR, PAGE, PAGES_MAX},
};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rounds of the generator.
    Rounds,
    /// A copy from guest memory to BAR 1.
    ToDevice,
    /// A copy from BAR 1 to guest memory.
    ToGuest,
}

/// A job in progress. PROGRESS is its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does.
    pub kind: Kind,
    /// The number of its rounds or pages.
    pub total: u32,
}

/// Everything that migrates, except for the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// BYTE.
    pub byte: u8,
    /// INDEX.
    pub index: u8,
    /// HALF.
    pub half: u16,
    /// WORD.
    pub word: u32,
    /// LONG.
    pub long: u64,
    /// The table of TABLE.
    pub table: [u32; ENTRIES],
    /// SEED.
    pub seed: u32,
    /// STATUS without BUSY, which is set while there is a job.
    pub status: u32,
    /// ADDRESS.
    pub address: u64,
    /// PAGES.
    pub pages: u32,
    /// PROGRESS, the position of the job.
    pub progress: u32,
    /// JOBS.
    pub jobs: u32,
    /// The job in progress.
    pub job: Option<Job>,
    /// STEPS.
    pub steps: u32,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The size in bytes of the encoding.
    pub const LEN: usize = 120;

    /// Creates the state after power-on.
    pub const fn new() -> Self {
        State {
            byte: 0,
            index: 0,
            half: 0,
            word: 0,
            long: 0,
            table: [0; ENTRIES],
            seed: 1,
            status: 0,
            address: 0,
            pages: 1,
            progress: 0,
            jobs: 0,
            job: None,
            steps: 0,
        }
    }

    /// Encodes the state.
    pub fn encode(&self) -> [u8; Self::LEN] {
        // Without `..`, so that a new field does not compile until it is encoded.
        let State {
            byte,
            index,
            half,
            word,
            long,
            table,
            seed,
            status,
            address,
            pages,
            progress,
            jobs,
            job,
            steps,
        } = *self;
        let (kind, total) = match job {
            None => (0, 0),
            Some(Job { kind, total }) => (kind as u32 + 1, total),
        };
        let mut out = Writer {
            bytes: [0; Self::LEN],
            at: 0,
        };
        out.put(&[byte, index]);
        out.put(&half.to_le_bytes());
        out.put(&word.to_le_bytes());
        out.put(&long.to_le_bytes());
        for entry in table {
            out.put(&entry.to_le_bytes());
        }
        out.put(&seed.to_le_bytes());
        out.put(&status.to_le_bytes());
        out.put(&address.to_le_bytes());
        for number in [pages, progress, jobs, kind, total, steps] {
            out.put(&number.to_le_bytes());
        }
        out.bytes
    }

    /// Decodes and checks a state, as a device with `defect` does. The error is the reason of the
    /// refusal, for the kernel log.
    pub fn decode(bytes: &[u8], defect: Defect) -> Result<Self, &'static str> {
        if bytes.len() != Self::LEN && defect != Defect::ShortRecordTaken {
            return Err("registers of another length");
        }
        let mut padded = Self::new().encode();
        let some = bytes.len().min(Self::LEN);
        padded[..some].copy_from_slice(&bytes[..some]);
        let mut from = Reader(&padded);
        let mut state = State {
            byte: from.u8(),
            index: from.u8(),
            half: from.u16(),
            word: from.u32(),
            long: from.u64(),
            table: core::array::from_fn(|_| from.u32()),
            seed: from.u32(),
            status: from.u32(),
            address: from.u64(),
            pages: from.u32(),
            progress: from.u32(),
            jobs: from.u32(),
            job: job(from.u32(), from.u32())?,
            steps: from.u32(),
        };
        if defect == Defect::StatusMasked {
            state.status &= DONE | ERROR;
        }
        state.check(defect)?;
        Ok(state)
    }

    /// Checks that a device can have the state.
    fn check(&self, defect: Defect) -> Result<(), &'static str> {
        let takes = |taken| defect.includes(taken);
        require(
            usize::from(self.index) < ENTRIES || takes(Defect::IndexUnchecked),
            "an INDEX beyond the table",
        )?;
        require(self.seed != 0, "a SEED of 0")?;
        require(
            self.status & !(DONE | ERROR) == 0 || takes(Defect::StatusUnchecked),
            "unknown bits of STATUS",
        )?;
        require(
            self.address % PAGE as u64 == 0,
            "an ADDRESS inside of a page",
        )?;
        require(
            (1..=PAGES_MAX).contains(&self.pages) || takes(Defect::PagesUnchecked),
            "a PAGES of 0 or beyond the memory",
        )?;
        let Some(job) = self.job else {
            return Ok(());
        };
        require(
            job.kind == Kind::Rounds || job.total <= PAGES_MAX,
            "a copy beyond the memory",
        )?;
        require(
            self.progress < job.total,
            "a job that is further than its end",
        )
    }
}

/// Decodes a job.
fn job(kind: u32, total: u32) -> Result<Option<Job>, &'static str> {
    let kind = match kind {
        0 if total == 0 => return Ok(None),
        1 => Kind::Rounds,
        2 => Kind::ToDevice,
        3 => Kind::ToGuest,
        _ => return Err("a job of an unknown kind"),
    };
    Ok(Some(Job { kind, total }))
}

/// An encoding in progress.
struct Writer {
    bytes: [u8; State::LEN],
    at: usize,
}

impl Writer {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..][..field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

/// What is left of an encoding. It must be long enough for the fields that are taken.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (first, rest) = self.0.split_at(N);
        field.copy_from_slice(first);
        self.0 = rest;
        field
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
