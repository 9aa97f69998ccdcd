// SPDX-License-Identifier: GPL-2.0

//! The register file: what the guest programs and sees, and the next step of each ring.
//!
//! Nothing here accesses memory or sleeps: a method changes the registers and returns what the glue
//! must do. `uapi/mgpu.h` documents each register.

use crate::{
    display::Picture,
    engine::{Outcome, Task, Work},
    state::State,
    uapi::{self, control, display, feature, reg, RINGS, RING_STRIDE},
};

/// What the glue must do for a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effect {
    /// Kick the ring's engine: there is work, and no step of the ring is in progress.
    pub kick: bool,
    /// Send the message of the ring's vector.
    pub message: bool,
}

/// What the glue must do for each ring, by the ring's number, besides setting each vector to the
/// [`interrupt_level`](Registers::interrupt_level) of its ring.
pub type Effects = [Effect; RINGS];

/// The registers of one device.
#[derive(Debug)]
pub struct Registers {
    // These migrate.
    state: State,

    // These do not: they belong to the glue's engines.
    turns: [Turn; RINGS],
}

/// The step of a ring.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// Changes whenever the step in progress becomes void.
    generation: u64,
    /// Whether work was taken and its outcome is not published yet.
    is_out: bool,
}

impl Registers {
    /// Creates the registers after power-on of a device with `vram_size` bytes of VRAM, a multiple
    /// of [`PAGE`](crate::pages::PAGE) up to [`uapi::VRAM_SIZE_MAX`].
    pub fn new(vram_size: u32) -> Self {
        Registers {
            state: State::new(vram_size),
            turns: [Turn::default(); RINGS],
        }
    }

    /// Reads the register at `offset` for the guest.
    pub fn read(&self, offset: u64) -> u32 {
        let state = &self.state;
        match place(offset) {
            None => 0,
            Some((0, reg::ID)) => uapi::ID,
            Some((0, reg::VERSION)) => uapi::VERSION,
            Some((0, reg::FEATURES)) => feature::DISPLAY | feature::CRC32C | feature::RINGS,
            Some((0, reg::VRAM_SIZE)) => state.vram_size,
            Some((0, reg::RINGS)) => RINGS as u32,
            Some((0, reg::DISPLAY_CONTROL)) if state.display.enabled => display::ENABLE,
            Some((0, reg::DISPLAY_WIDTH)) => state.display.picture.width,
            Some((0, reg::DISPLAY_HEIGHT)) => state.display.picture.height,
            Some((0, reg::DISPLAY_STRIDE)) => state.display.picture.stride,
            Some((0, reg::DISPLAY_FORMAT)) => uapi::FORMAT_XRGB8888,
            Some((ring, reg)) => state.rings[ring].read(reg, self.is_busy(ring)),
        }
    }

    /// Writes `value` to the register at `offset` for the guest.
    pub fn write(&mut self, offset: u64, value: u32) -> Effects {
        let Some((ring, reg)) = place(offset) else {
            return Effects::default();
        };
        let mut were_up = self.levels();
        // An acknowledgement lowers the level for a moment, so that the remaining bits send a
        // message.
        were_up[ring] &= reg != reg::INTERRUPT;
        let State {
            vram_size,
            display,
            rings,
        } = &mut self.state;
        match (ring, reg) {
            (0, reg::CONTROL) if value & control::RESET != 0 => self.clear(),
            (_, reg::CONTROL) => self.control(ring, value),
            (0, reg::DISPLAY_CONTROL) => {
                let result = display.enable(value & display::ENABLE != 0, *vram_size);
                rings[0].report_if_refused(result);
            }
            (0, reg::DISPLAY_WIDTH) => display.set(|picture| &mut picture.width, value),
            (0, reg::DISPLAY_HEIGHT) => display.set(|picture| &mut picture.height, value),
            (0, reg::DISPLAY_STRIDE) => display.set(|picture| &mut picture.stride, value),
            _ => rings[ring].write(reg, value),
        }
        self.effects(ring, were_up)
    }

    /// Resets the function: the registers are as after power-on. Work in progress becomes void.
    pub fn reset(&mut self) {
        self.clear();
    }

    /// Returns whether an unmasked interrupt of `ring` is pending.
    pub fn interrupt_level(&self, ring: usize) -> bool {
        self.state.rings[ring].interrupt_level()
    }

    /// Returns the display's picture, if it is enabled.
    pub fn picture(&self) -> Option<Picture> {
        let display = &self.state.display;
        display.enabled.then_some(display.picture)
    }

    /// Takes the next step of `ring`, if there is one and no other of this ring is in progress.
    pub fn take_work(&mut self, ring: usize) -> Option<Work> {
        if !self.has_work(ring) {
            return None;
        }
        self.turns[ring].is_out = true;
        let state = &self.state.rings[ring];
        Some(Work {
            generation: self.turns[ring].generation,
            task: match state.job {
                Some(job) => Task::Execute(job, state.failed),
                None => Task::Fetch(state.queue.slot()),
            },
        })
    }

    /// Publishes the outcome of the step that was taken of `ring`. One from before a reset changes
    /// nothing.
    pub fn publish(&mut self, ring: usize, outcome: Outcome) -> Effects {
        let were_up = self.levels();
        let turn = &mut self.turns[ring];
        turn.is_out = false;
        if outcome.generation == turn.generation {
            self.state.rings[ring].apply(outcome.result, self.state.vram_size);
        }
        self.effects(ring, were_up)
    }

    /// Returns whether no step of `ring` is in progress, so that it accesses no memory.
    pub fn is_idle(&self, ring: usize) -> bool {
        !self.turns[ring].is_out
    }

    /// Returns the state that migrates, or `None` while a step is in progress, because the
    /// destination would execute that step a second time.
    pub fn state(&self) -> Option<State> {
        let is_idle = (0..RINGS).all(|ring| self.is_idle(ring));
        is_idle.then_some(self.state)
    }

    /// Continues from `state`.
    pub fn restore(&mut self, state: State) -> Effects {
        self.make_void();
        self.state = state;
        core::array::from_fn(|ring| Effect {
            kick: self.has_work(ring),
            message: false,
        })
    }

    fn levels(&self) -> [bool; RINGS] {
        core::array::from_fn(|ring| self.interrupt_level(ring))
    }

    /// Returns the effects of a change of `ring`, and of the levels that were up before.
    fn effects(&self, ring: usize, were_up: [bool; RINGS]) -> Effects {
        core::array::from_fn(|any| Effect {
            kick: any == ring && self.has_work(ring),
            message: !were_up[any] && self.interrupt_level(any),
        })
    }

    fn is_busy(&self, ring: usize) -> bool {
        self.turns[ring].is_out || self.state.rings[ring].has_work()
    }

    fn has_work(&self, ring: usize) -> bool {
        self.state.rings[ring].has_work() && !self.turns[ring].is_out
    }

    fn clear(&mut self) {
        self.make_void();
        self.state = State::new(self.state.vram_size);
    }

    /// Makes the steps in progress void.
    fn make_void(&mut self) {
        for turn in &mut self.turns {
            turn.generation += 1;
        }
    }

    /// Writes CONTROL of one ring.
    fn control(&mut self, ring: usize, value: u32) {
        let (state, turn) = (&mut self.state.rings[ring], &mut self.turns[ring]);
        if value & control::RESET != 0 {
            turn.generation += 1;
            *state = Default::default();
        } else if value & control::ENABLE != 0 {
            state.start();
        } else {
            turn.generation += 1;
            state.stop();
        }
    }
}

/// Returns the ring at an offset of the BAR, and the register as an offset from the ring's first.
fn place(offset: u64) -> Option<(usize, u64)> {
    let ring = offset / RING_STRIDE;
    (ring < RINGS as u64).then_some((ring as usize, offset % RING_STRIDE))
}
