// SPDX-License-Identifier: GPL-2.0

//! The workbench behind its lock: accesses to the registers, and the job, step by step.
//!
//! A step is taken with [`begin`](Workbench::begin) and returned with [`end`](Workbench::end). The
//! lock is held in both and not between them, where a copy accesses memory. All progress is made
//! in `end`, so a job can stop between any two steps, and no step is done twice.

use super::{
    defect::Defect,
    register::*,
    state::{Job, Kind, State},
};

/// What a step does outside of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing: the rounds are those of `end`.
    Rounds,
    /// Copies a page of guest memory, at `iova`, to the offset `at` of the memory.
    ToDevice {
        /// Where to copy from.
        iova: u64,
        /// Where to copy to.
        at: usize,
    },
    /// Copies the page at the offset `at` of the memory to guest memory, at `iova`.
    ToGuest {
        /// Where to copy to.
        iova: u64,
        /// Where to copy from.
        at: usize,
    },
}

/// The outcome of a step: whether guest memory could be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// The workbench, without its memory.
#[derive(Debug)]
pub struct Workbench {
    defect: Defect,
    // This migrates.
    state: State,
    // These do not: a device is stopped while it is saved and when it is loaded.
    stopped: bool,
    /// Whether a step was begun and has not ended.
    stepping: bool,
}

impl Workbench {
    /// Creates the workbench after power-on.
    pub const fn new(defect: Defect) -> Self {
        Workbench {
            defect,
            state: State::new(),
            stopped: false,
            stepping: false,
        }
    }

    /// Returns the level of the interrupt.
    pub fn interrupt(&self) -> bool {
        self.state.status & (DONE | ERROR) != 0 && self.defect != Defect::InterruptMissing
    }

    /// Returns whether a job has begun and not ended.
    pub fn is_busy(&self) -> bool {
        self.state.job.is_some()
    }

    /// Reads a register into `data`, which is zero.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let State {
            job,
            long,
            index,
            table,
            ..
        } = self.state;
        let status = self.state.status | if job.is_some() { BUSY } else { 0 };
        let entry = table.get(usize::from(index)).copied().unwrap_or(0);
        let value: u64 = match (offset, data.len()) {
            (ID, 4) => IDENTITY.into(),
            (BYTE, 1) => self.state.byte.into(),
            (HALF, 2) => self.state.half.into(),
            (WORD, 4) => self.state.word.into(),
            (LONG, 4 | 8) => long,
            (LONG_UPPER, 4) => long >> 32,
            (INDEX, 1) => index.into(),
            (TABLE, 4) => entry.into(),
            (SEED, 4) => self.state.seed.into(),
            (STATUS, 4) => status.into(),
            (ADDRESS, 8) => self.state.address,
            (PAGES, 4) => self.state.pages.into(),
            (PROGRESS, 4) => self.state.progress.into(),
            (JOBS, 4) => self.state.jobs.into(),
            (STEPS, 4) => self.state.steps.into(),
            _ => 0,
        };
        let len = data.len();
        data.copy_from_slice(&value.to_le_bytes()[..len]);
    }

    /// Writes a register. Returns whether there is a new step to do.
    #[must_use]
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        if self.stopped && self.defect == Defect::WriteLostWhileStopped {
            return false;
        }
        let mut bytes = [0; 8];
        bytes[..data.len()].copy_from_slice(data);
        let long = u64::from_le_bytes(bytes);
        let word = long as u32;
        let busy = self.is_busy();
        let state = &mut self.state;
        match (offset, data.len()) {
            (BYTE, 1) => state.byte = data[0],
            (HALF, 2) => state.half = word as u16,
            (WORD, 4) => state.word = word,
            (LONG, 8) => state.long = long,
            (LONG, 4) => state.long = state.long >> 32 << 32 | long,
            (LONG_UPPER, 4) => state.long = long << 32 | u64::from(state.long as u32),
            (INDEX, 1) if usize::from(data[0]) < ENTRIES => state.index = data[0],
            (TABLE, 4) => {
                if let Some(entry) = state.table.get_mut(usize::from(state.index)) {
                    *entry = word;
                }
            }
            (SEED, 4) if !busy => state.seed = word.max(1),
            (CLEAR, 4) => state.status = 0,
            (ADDRESS, 8) if !busy && long % PAGE as u64 == 0 => state.address = long,
            (PAGES, 4) if (1..=PAGES_MAX).contains(&word) => state.pages = word,
            (ROUNDS, 4) if !busy => return self.start(Kind::Rounds, word),
            (COPY, 4) if !busy && word == TO_DEVICE => {
                return self.start(Kind::ToDevice, self.state.pages)
            }
            (COPY, 4) if !busy && word == TO_GUEST => {
                return self.start(Kind::ToGuest, self.state.pages)
            }
            _ => {}
        }
        false
    }

    fn start(&mut self, kind: Kind, total: u32) -> bool {
        self.state.progress = 0;
        self.state.job = Some(Job { kind, total });
        if total == 0 {
            self.finish(DONE);
        }
        self.is_busy()
    }

    fn finish(&mut self, event: u32) {
        self.state.job = None;
        self.state.status |= event;
        if self.defect == Defect::JobUncounted && self.state.jobs == 1 {
            return;
        }
        self.state.jobs = self.state.jobs.wrapping_add(1);
    }

    /// Begins the next step of the job, if there is a job and the device is not stopped.
    pub fn begin(&mut self) -> Option<Step> {
        let job = self.state.job.filter(|_| !self.stopped)?;
        self.stepping = true;
        let at = self.state.progress as usize * PAGE;
        // At the end of the address space, where nothing can be mapped, the sum does not wrap.
        let iova = self.state.address.saturating_add(at as u64);
        Some(match job.kind {
            Kind::Rounds => Step::Rounds,
            Kind::ToDevice => Step::ToDevice { iova, at },
            Kind::ToGuest => Step::ToGuest { iova, at },
        })
    }

    /// Ends the step that was begun.
    pub fn end(&mut self, outcome: Result<(), Failed>) {
        self.stepping = false;
        let Some(job) = self.state.job else {
            return;
        };
        self.state.steps = self.state.steps.wrapping_add(1);
        if outcome.is_err() {
            return self.finish(ERROR);
        }
        let left = job.total.saturating_sub(self.state.progress);
        let done = left.min(per_step(job.kind));
        if job.kind == Kind::Rounds {
            self.state.seed = (0..done).fold(self.state.seed, |seed, _| round(seed));
        }
        self.state.progress += done;
        if done == left {
            self.finish(DONE);
        }
    }

    /// Stops the job before its next step, until [`go_on`](Self::go_on) or
    /// [`reset`](Self::reset).
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Returns whether a step is in progress, which the SDK waits for when it stops the engine.
    pub fn is_stepping(&self) -> bool {
        self.stepping
    }

    /// Clears DONE, as a device does whose quiescing clears it.
    pub fn lose_done(&mut self) {
        self.state.status &= !DONE;
    }

    /// Lets the job go on.
    pub fn go_on(&mut self) {
        self.stopped = false;
    }

    /// Resets the device: the state after power-on, and no job. No step must be in progress.
    /// `was_stopped` is whether the device had been stopped before the reset stopped it.
    pub fn reset(&mut self, was_stopped: bool) {
        let before = self.state;
        self.state = State::new();
        self.stopped = false;
        match self.defect {
            Defect::ResetStaysStopped | Defect::EightAtOnce => self.stopped = was_stopped,
            Defect::ResetKeepsWord => self.state.word = before.word,
            Defect::ResetKeepsTable => self.state.table = before.table,
            Defect::ResetKeepsSteps => self.state.steps = before.steps,
            Defect::ResetKeepsStatus => self.state.status = before.status,
            Defect::ResetKeepsJob => {
                self.state.job = before.job;
                self.state.progress = before.progress;
            }
            _ => {}
        }
    }

    /// Returns whether the device is stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns the state to be saved.
    pub fn saved(&self) -> State {
        let mut state = self.state;
        match self.defect {
            Defect::ByteLost => state.byte = 0,
            Defect::HalfLost => state.half &= 0xff,
            Defect::WordSwapped => state.word = state.word.swap_bytes(),
            Defect::LongLost => state.long &= u64::from(u32::MAX),
            Defect::IndexLost => state.index = 0,
            Defect::EightAtOnce => (state.table, state.seed) = ([0; ENTRIES], 1),
            Defect::TableLost => state.table = [0; ENTRIES],
            Defect::TableEntry15Lost => state.table[ENTRIES - 1] = 0,
            Defect::SeedLost => state.seed = 1,
            Defect::AddressLost => state.address = 0,
            Defect::CountLost => state.pages = 1,
            Defect::StatusLost => state.status &= !DONE,
            Defect::ErrorLost if state.status & ERROR != 0 => state.status = DONE,
            Defect::JobsLost => state.jobs = 0,
            Defect::StepsLost => state.steps = 0,
            Defect::JobDropped => state.job = None,
            Defect::JobRestarted if state.job.is_some() => state.progress = 0,
            _ => {}
        }
        state
    }

    /// Takes over a state that was saved. The device stays stopped or running.
    pub fn restore(&mut self, state: State) {
        self.state = state;
        let step = state.job.map_or(0, |job| per_step(job.kind));
        match self.defect {
            Defect::JobsCountedTwice => self.state.jobs = state.jobs.wrapping_add(1),
            Defect::JobRepeated => self.state.progress = state.progress.saturating_sub(step),
            Defect::JobSkipped => self.state.progress = state.progress.saturating_add(step),
            _ => {}
        }
    }
}

/// Returns how many rounds or pages of a job are one step.
fn per_step(kind: Kind) -> u32 {
    match kind {
        Kind::Rounds => ROUNDS_PER_STEP,
        Kind::ToDevice | Kind::ToGuest => 1,
    }
}

/// Returns the state of the generator after `seed`: Marsaglia's xorshift with 32 bits.
pub fn round(mut seed: u32) -> u32 {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^ seed << 5
}
