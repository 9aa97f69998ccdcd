// SPDX-License-Identifier: GPL-2.0

//! The work of a device: an engine for each ring, on the registers, VRAM and the guest's memory.

use crate::{
    engine, memory,
    registers::{Effects, Registers},
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
};
use mdev_sdk::{crc32c, Context, DeviceMemory, Step, Task};

/// What the rings share.
#[pin_data]
pub(crate) struct Core {
    pub(crate) vram: Arc<DeviceMemory>,
    #[pin]
    pub(crate) registers: Mutex<Registers>,
}

/// The work of a ring: executing its commands.
#[pin_data]
pub(crate) struct Commands {
    pub(crate) core: Arc<Core>,
    pub(crate) ring: usize,
    /// The buffer for the data of a step, which alone locks it.
    #[pin]
    pub(crate) scratch: Mutex<KVVec<u8>>,
}

/// Sets the vectors' levels from the registers, whose lock must be held. A rising edge sends the
/// message.
pub(crate) fn signal(cx: &Context, registers: &Registers, effects: &Effects) {
    for (ring, effect) in effects.iter().enumerate() {
        if effect.message {
            cx.set_vector(ring, false);
        }
        cx.set_vector(ring, registers.interrupt_level(ring));
    }
}

impl Task for Commands {
    fn step(&self, cx: &Context) -> Step {
        let Self { core, ring, .. } = self;
        let Some(work) = core.registers.lock().take_work(*ring) else {
            return Step::Idle;
        };
        let outcome = engine::Engine {
            guest: &mut Guest(cx),
            vram: &mut Vram(&core.vram),
            crc32c,
            scratch: &mut self.scratch.lock(),
        }
        .step(work);
        let mut registers = core.registers.lock();
        let effects = registers.publish(*ring, outcome);
        signal(cx, &registers, &effects);
        Step::More
    }
}

/// Guest memory for the engine: pinned only while a step touches it.
struct Guest<'a>(&'a Context);

impl memory::GuestMemory for Guest<'_> {
    fn read(&mut self, iova: u64, data: &mut [u8]) -> Result<(), memory::Fault> {
        let memory = self.0.memory();
        let read = if data.len() < PAGE_SIZE {
            memory.read(iova, data)
        } else {
            let pinned = memory.pin_read(iova, data.len());
            pinned.and_then(|pinned| pinned.read(0, data))
        };
        read.map_err(|_| memory::Fault)
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), memory::Fault> {
        let memory = self.0.memory();
        let written = if data.len() < PAGE_SIZE {
            memory.write(iova, data)
        } else {
            let pinned = memory.pin_write(iova, data.len());
            pinned.and_then(|pinned| pinned.write(0, data))
        };
        written.map_err(|_| memory::Fault)
    }
}

/// VRAM for the engine, which has checked every range.
struct Vram<'a>(&'a DeviceMemory);

impl memory::Vram for Vram<'_> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if self.0.read(offset as usize, data).is_err() {
            pr_err!("the engine reads beyond VRAM\n");
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if self.0.write(offset as usize, data).is_err() {
            pr_err!("the engine writes beyond VRAM\n");
        }
    }
}
