// SPDX-License-Identifier: GPL-2.0

//! The register file: what the guest programs and sees, and the next step to execute.
//!
//! Nothing here accesses memory or sleeps: a method changes the registers and returns what the glue
//! must do. `uapi/mgpu.h` documents each register.

use crate::{
    display::Picture,
    engine::{Outcome, Step, Task, Work},
    error::{Error, Failure},
    job::Job,
    state::State,
    uapi::{self, control, display, feature, interrupt, reg, status, COMMAND_LEN},
};

/// What the glue must do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Kick the engine: there is work, and none is in progress.
    pub kick: bool,
    /// Send the interrupt's message.
    pub message: bool,
}

/// The registers of one device.
#[derive(Debug)]
pub struct Registers {
    // These migrate.
    state: State,

    // These do not: they belong to the glue's engine.
    /// Changes whenever the work in progress becomes void.
    generation: u64,
    /// Whether work was taken and its outcome is not published yet.
    step_is_out: bool,
}

/// Returns `whole` with `value` in its lower half.
fn with_low(whole: u64, value: u32) -> u64 {
    whole & !u64::from(u32::MAX) | u64::from(value)
}

/// Returns `whole` with `value` in its upper half.
fn with_high(whole: u64, value: u32) -> u64 {
    whole & u64::from(u32::MAX) | u64::from(value) << 32
}

impl Registers {
    /// Creates the registers after power-on of a device with `vram_size` bytes of VRAM, a multiple
    /// of [`PAGE`](crate::pages::PAGE) up to [`uapi::VRAM_SIZE_MAX`].
    pub fn new(vram_size: u32) -> Self {
        Registers {
            state: State::new(vram_size),
            generation: 0,
            step_is_out: false,
        }
    }

    /// Reads the register at `offset` for the guest.
    pub fn read(&self, offset: u64) -> u32 {
        let state = &self.state;
        let (error, error_index) = Failure::show(state.error);
        match offset {
            reg::ID => uapi::ID,
            reg::VERSION => uapi::VERSION,
            reg::FEATURES => feature::DISPLAY | feature::CRC32C,
            reg::VRAM_SIZE => state.vram_size,
            reg::STATUS => self.status(),
            reg::CONTROL if state.ring.enabled => control::ENABLE,
            reg::INTERRUPT => state.interrupt,
            reg::INTERRUPT_ENABLE => state.interrupt_enable,
            reg::ERROR => error,
            reg::ERROR_INDEX => error_index,
            reg::RING_BASE_LO => state.ring.base as u32,
            reg::RING_BASE_HI => (state.ring.base >> 32) as u32,
            reg::RING_SIZE => state.ring.size,
            reg::RING_HEAD => state.ring.head,
            reg::RING_TAIL => state.ring.tail,
            reg::FENCE_LO => state.fence as u32,
            reg::FENCE_HI => (state.fence >> 32) as u32,
            reg::DISPLAY_CONTROL if state.display.enabled => display::ENABLE,
            reg::DISPLAY_WIDTH => state.display.picture.width,
            reg::DISPLAY_HEIGHT => state.display.picture.height,
            reg::DISPLAY_STRIDE => state.display.picture.stride,
            reg::DISPLAY_FORMAT => uapi::FORMAT_XRGB8888,
            _ => 0,
        }
    }

    /// Writes `value` to the register at `offset` for the guest.
    pub fn write(&mut self, offset: u64, value: u32) -> Effects {
        // An acknowledgement lowers the line for a moment, so that the remaining bits send a
        // message.
        let was_up = self.interrupt_level() && offset != reg::INTERRUPT;
        let vram_size = self.state.vram_size;
        let state = &mut self.state;
        let (ring, display) = (&mut state.ring, &mut state.display);
        let mut result = Ok(());
        match offset {
            reg::CONTROL if value & control::RESET != 0 => self.clear(),
            reg::CONTROL => result = self.enable(value & control::ENABLE != 0),
            reg::INTERRUPT => state.interrupt &= !value,
            reg::INTERRUPT_ENABLE => state.interrupt_enable = value & interrupt::ALL,
            reg::ERROR => state.error = None,
            reg::RING_BASE_LO => ring.set_base(with_low(ring.base, value)),
            reg::RING_BASE_HI => ring.set_base(with_high(ring.base, value)),
            reg::RING_SIZE => ring.set_size(value),
            reg::RING_TAIL => result = ring.set_tail(value),
            reg::DISPLAY_CONTROL => {
                result = display.enable(value & display::ENABLE != 0, vram_size);
            }
            reg::DISPLAY_WIDTH => display.set(|picture| &mut picture.width, value),
            reg::DISPLAY_HEIGHT => display.set(|picture| &mut picture.height, value),
            reg::DISPLAY_STRIDE => display.set(|picture| &mut picture.stride, value),
            _ => {}
        }
        if let Err(error) = result {
            self.report(Failure::without_index(error));
        }
        self.effects(was_up)
    }

    /// Resets the function: the registers are as after power-on. Work in progress becomes void.
    pub fn reset(&mut self) {
        self.clear();
    }

    /// Returns whether an unmasked interrupt is pending.
    pub fn interrupt_level(&self) -> bool {
        self.state.interrupt & self.state.interrupt_enable != 0
    }

    /// Returns the display's picture, if it is enabled.
    pub fn picture(&self) -> Option<Picture> {
        let display = &self.state.display;
        display.enabled.then_some(display.picture)
    }

    /// Takes the next step, if there is one and no other is in progress.
    pub fn take_work(&mut self) -> Option<Work> {
        if !self.has_work() {
            return None;
        }
        self.step_is_out = true;
        Some(Work {
            generation: self.generation,
            task: match self.state.job {
                Some(job) => Task::Execute(job, self.state.failed),
                None => Task::Fetch(self.state.ring.slot()),
            },
        })
    }

    /// Publishes the outcome of the step that was taken. One from before a reset changes nothing.
    pub fn publish(&mut self, outcome: Outcome) -> Effects {
        let was_up = self.interrupt_level();
        self.step_is_out = false;
        if outcome.generation == self.generation {
            match outcome.result {
                Ok(step) => self.apply(step),
                Err(error) => self.fail(error),
            }
        }
        self.effects(was_up)
    }

    /// Returns whether no step is in progress, so that memory is not being accessed.
    pub fn is_idle(&self) -> bool {
        !self.step_is_out
    }

    /// Returns the state that migrates, or `None` while a step is in progress, because the
    /// destination would execute that step a second time.
    pub fn state(&self) -> Option<State> {
        self.is_idle().then_some(self.state)
    }

    /// Continues from `state`. The caller must set the interrupt to
    /// [`interrupt_level`](Self::interrupt_level).
    pub fn restore(&mut self, state: State) -> Effects {
        self.generation += 1;
        self.state = state;
        self.effects(true)
    }

    fn effects(&self, was_up: bool) -> Effects {
        Effects {
            kick: self.has_work(),
            message: !was_up && self.interrupt_level(),
        }
    }

    fn is_busy(&self) -> bool {
        self.step_is_out || self.state.job.is_some() || self.state.ring.has_command()
    }

    fn has_work(&self) -> bool {
        self.is_busy() && !self.step_is_out
    }

    fn status(&self) -> u32 {
        let bit = |on, bit| if on { bit } else { 0 };
        bit(self.is_busy(), status::BUSY)
            | bit(self.state.ring.enabled, status::ENABLED)
            | bit(self.state.ring.halted, status::HALTED)
    }

    fn clear(&mut self) {
        self.generation += 1;
        self.state = State::new(self.state.vram_size);
    }

    fn enable(&mut self, on: bool) -> Result<(), Error> {
        if on == self.state.ring.enabled {
            return Ok(());
        }
        if on {
            return self.state.ring.enable();
        }
        self.generation += 1;
        self.state.ring.disable();
        self.state.job = None;
        self.state.failed = None;
        Ok(())
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Fetched(bytes) => self.fetched(bytes),
            Step::Progress(job) => self.state.job = Some(job),
            Step::Done => self.complete(),
            Step::Fence(value) => {
                self.state.fence = value;
                self.state.failed = None;
                self.state.interrupt |= interrupt::FENCE;
                self.complete();
            }
        }
    }

    fn fetched(&mut self, bytes: [u8; COMMAND_LEN]) {
        match Job::new(bytes, self.state.vram_size) {
            Ok(job) => self.state.job = Some(job),
            Err(error) => self.fail(error),
        }
    }

    /// Handles an error of the command at the ring's head.
    fn fail(&mut self, error: Error) {
        let failure = Failure {
            error,
            index: self.state.ring.head,
        };
        self.report(failure);
        if error.is_of_a_command() {
            self.state.failed.get_or_insert(failure);
            self.complete();
        } else {
            self.state.ring.halt();
        }
    }

    fn complete(&mut self) {
        self.state.job = None;
        self.state.ring.advance();
    }

    fn report(&mut self, failure: Failure) {
        self.state.error.get_or_insert(failure);
        self.state.interrupt |= interrupt::ERROR;
    }
}
