// SPDX-License-Identifier: GPL-2.0

//! A ring: its registers, and what comes of its commands.
//!
//! All of it migrates. `uapi/mgpu.h` documents each register.

use crate::{
    engine::Step,
    error::{Error, Failure},
    job::Job,
    queue::Queue,
    uapi::{control, interrupt, reg, status, COMMAND_LEN},
};

/// The state of one ring. The default is that after power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ring {
    // Registers.
    pub(crate) interrupt: u32,
    pub(crate) interrupt_enable: u32,
    pub(crate) queue: Queue,
    pub(crate) error: Option<Failure>,
    pub(crate) fence: u64,

    // Work in progress.
    /// The first failure since the last fence.
    pub(crate) failed: Option<Failure>,
    /// The command at the ring's head, if it was fetched. Implies an enabled ring.
    pub(crate) job: Option<Job>,
}

/// Returns `whole` with `value` in its lower half.
fn with_low(whole: u64, value: u32) -> u64 {
    whole & !u64::from(u32::MAX) | u64::from(value)
}

/// Returns `whole` with `value` in its upper half.
fn with_high(whole: u64, value: u32) -> u64 {
    whole & u64::from(u32::MAX) | u64::from(value) << 32
}

impl Ring {
    /// Reads the register at `reg`, an offset from the ring's first register. `is_busy` is for
    /// STATUS.
    pub(crate) fn read(&self, reg: u64, is_busy: bool) -> u32 {
        let (error, error_index) = Failure::show(self.error);
        match reg {
            reg::STATUS => self.status(is_busy),
            reg::CONTROL if self.queue.enabled => control::ENABLE,
            reg::INTERRUPT => self.interrupt,
            reg::INTERRUPT_ENABLE => self.interrupt_enable,
            reg::ERROR => error,
            reg::ERROR_INDEX => error_index,
            reg::RING_BASE_LO => self.queue.base as u32,
            reg::RING_BASE_HI => (self.queue.base >> 32) as u32,
            reg::RING_SIZE => self.queue.size,
            reg::RING_HEAD => self.queue.head,
            reg::RING_TAIL => self.queue.tail,
            reg::FENCE_LO => self.fence as u32,
            reg::FENCE_HI => (self.fence >> 32) as u32,
            _ => 0,
        }
    }

    /// Writes `value` to the register at `reg`, except CONTROL.
    pub(crate) fn write(&mut self, reg: u64, value: u32) {
        let queue = &mut self.queue;
        match reg {
            reg::INTERRUPT => self.interrupt &= !value,
            reg::INTERRUPT_ENABLE => self.interrupt_enable = value & interrupt::ALL,
            reg::ERROR => self.error = None,
            reg::RING_BASE_LO => queue.set_base(with_low(queue.base, value)),
            reg::RING_BASE_HI => queue.set_base(with_high(queue.base, value)),
            reg::RING_SIZE => queue.set_size(value),
            reg::RING_TAIL => {
                let result = queue.set_tail(value);
                self.report_if_refused(result);
            }
            _ => {}
        }
    }

    /// Starts the ring, unless it is enabled.
    pub(crate) fn start(&mut self) {
        if !self.queue.enabled {
            let result = self.queue.enable();
            self.report_if_refused(result);
        }
    }

    /// Stops the ring, which abandons its command.
    pub(crate) fn stop(&mut self) {
        self.queue.disable();
        self.job = None;
        self.failed = None;
    }

    /// Returns whether an unmasked interrupt is pending.
    pub(crate) fn interrupt_level(&self) -> bool {
        self.interrupt & self.interrupt_enable != 0
    }

    /// Returns whether there is a command to fetch or to continue.
    pub(crate) fn has_work(&self) -> bool {
        self.job.is_some() || self.queue.has_command()
    }

    /// Takes over what a step comes to.
    pub(crate) fn apply(&mut self, result: Result<Step, Error>, vram_size: u32) {
        match result {
            Ok(Step::Fetched(bytes)) => self.fetched(bytes, vram_size),
            Ok(Step::Progress(job)) => self.job = Some(job),
            Ok(Step::Done) => self.complete(),
            Ok(Step::Fence(value)) => {
                self.fence = value;
                self.failed = None;
                self.interrupt |= interrupt::FENCE;
                self.complete();
            }
            Err(error) => self.fail(error),
        }
    }

    /// Shows an error that belongs to no command, if `result` is one.
    pub(crate) fn report_if_refused(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.report(Failure::without_index(error));
        }
    }

    fn status(&self, is_busy: bool) -> u32 {
        let bit = |on, bit| if on { bit } else { 0 };
        bit(is_busy, status::BUSY)
            | bit(self.queue.enabled, status::ENABLED)
            | bit(self.queue.halted, status::HALTED)
    }

    fn fetched(&mut self, bytes: [u8; COMMAND_LEN], vram_size: u32) {
        match Job::new(bytes, vram_size) {
            Ok(job) => self.job = Some(job),
            Err(error) => self.fail(error),
        }
    }

    /// Handles an error of the command at the ring's head.
    fn fail(&mut self, error: Error) {
        let failure = Failure {
            error,
            index: self.queue.head,
        };
        self.report(failure);
        if error.is_of_a_command() {
            self.failed.get_or_insert(failure);
            self.complete();
        } else {
            self.queue.halt();
        }
    }

    fn complete(&mut self) {
        self.job = None;
        self.queue.advance();
    }

    fn report(&mut self, failure: Failure) {
        self.error.get_or_insert(failure);
        self.interrupt |= interrupt::ERROR;
    }
}
