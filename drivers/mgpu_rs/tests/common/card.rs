// SPDX-License-Identifier: GPL-2.0

//! A card whose glue is the test.

use std::sync::LazyLock;

use mgpu_model::{
    engine::{Engine, Outcome, Work, SLICE},
    registers::{Effects, Registers},
    state::State,
};

use super::{Guest, Memory, *};

/// Computes the checksum as the kernel does: without inversions.
pub fn kernel_crc32c(seed: u32, data: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, data)
}

/// Made once, because a test uses hundreds of cards.
static DATA_PATTERN: LazyLock<Memory> = LazyLock::new(|| Memory::patterned(DATA_LEN, 0xdeca_de01));
static VRAM_PATTERN: LazyLock<Memory> = LazyLock::new(|| Memory::patterned(VRAM, 0x600d_f00d));

#[derive(Debug)]
pub struct Card {
    pub regs: Registers,
    pub guest: Guest,
    pub vram: Memory,
    pub scratch: Vec<u8>,
    /// The number of interrupt messages sent.
    pub messages: usize,
    /// Whether the worker was kicked since it last found no work.
    pub kicked: bool,
    /// The index for the next command.
    tail: u32,
}

impl Card {
    /// Creates a card after power-on, with patterns in guest memory and VRAM.
    pub fn new() -> Self {
        let mut guest = Guest::default();
        guest.map(DATA, DATA_PATTERN.clone());
        guest.map(RING, Memory::new(vec![0; SLOTS as usize * 64]));
        Card {
            regs: Registers::new(VRAM as u32),
            guest,
            vram: VRAM_PATTERN.clone(),
            // Larger than the part that a step may use.
            scratch: vec![0; 2 * SLICE],
            messages: 0,
            kicked: false,
            tail: 0,
        }
    }

    /// Creates the same with the ring enabled and all interrupts unmasked.
    pub fn started() -> Self {
        let mut card = Self::new();
        card.start(RING, SLOTS);
        card
    }

    pub fn start(&mut self, base: u64, size: u32) {
        self.write(INTERRUPT_ENABLE, INT_FENCE | INT_ERROR);
        self.write(RING_BASE_LO, base as u32);
        self.write(RING_BASE_HI, (base >> 32) as u32);
        self.write(RING_SIZE, size);
        self.write(CONTROL, ENABLE);
        self.tail = 0;
    }

    pub fn read(&self, reg: u64) -> u32 {
        self.regs.read(reg)
    }

    pub fn write(&mut self, reg: u64, value: u32) {
        let effects = self.regs.write(reg, value);
        self.act(effects);
    }

    fn act(&mut self, effects: Effects) {
        self.messages += usize::from(effects.message);
        self.kicked |= effects.kick;
    }

    /// Puts a command where the guest's driver would, without the doorbell.
    pub fn put(&mut self, cmd: &Cmd) {
        let at = self.tail as usize * 64;
        self.guest.at(RING).memory.bytes[at..at + 64].copy_from_slice(&cmd.bytes());
        self.tail = (self.tail + 1) % self.read(RING_SIZE);
    }

    pub fn ring(&mut self) {
        self.write(TAIL, self.tail);
    }

    pub fn submit(&mut self, cmds: &[Cmd]) {
        cmds.iter().for_each(|cmd| self.put(cmd));
        self.ring();
    }

    pub fn take(&mut self) -> Option<Work> {
        self.regs.take_work()
    }

    pub fn execute(&mut self, work: Work) -> Outcome {
        Engine {
            guest: &mut self.guest,
            vram: &mut self.vram,
            crc32c: kernel_crc32c,
            scratch: &mut self.scratch,
        }
        .step(work)
    }

    pub fn publish(&mut self, outcome: Outcome) {
        let effects = self.regs.publish(outcome);
        self.act(effects);
    }

    /// Runs one turn of the worker's loop; `false` if there was no work.
    pub fn step(&mut self) -> bool {
        let Some(work) = self.take() else {
            self.kicked = false;
            return false;
        };
        let outcome = self.execute(work);
        self.publish(outcome);
        true
    }

    /// Runs the worker until there is no work, and returns the number of steps.
    pub fn run(&mut self) -> usize {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 10_000_000, "the card does not come to an end");
        }
        steps
    }

    /// Migrates the registers; memory is already at the destination.
    pub fn migrate(&mut self) {
        let bytes = self.regs.state().unwrap().encode();
        let state = State::decode(&bytes, VRAM as u32).unwrap();
        self.regs = Registers::new(VRAM as u32);
        let effects = self.regs.restore(state);
        assert!(!effects.message, "the glue sets the level, without an edge");
        self.act(effects);
    }

    pub fn fence(&self) -> u64 {
        u64::from(self.read(FENCE_LO)) | u64::from(self.read(FENCE_HI)) << 32
    }

    /// Reads ERROR and ERROR_INDEX.
    pub fn error(&self) -> (u32, u32) {
        (self.read(ERROR), self.read(ERROR_INDEX))
    }

    pub fn data(&self) -> &Memory {
        self.guest.data(DATA)
    }

    /// Returns `len` bytes of guest memory at a data address.
    pub fn data_at(&self, iova: u64, len: usize) -> &[u8] {
        &self.data().bytes[(iova - DATA) as usize..][..len]
    }

    /// Returns value, status and index of a fence in guest memory.
    pub fn fence_at(&self, iova: u64) -> (u64, u32, u32) {
        let bytes = self.data_at(iova, 16);
        (
            u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            u32::from_le_bytes(bytes[8..12].try_into().unwrap()),
            u32::from_le_bytes(bytes[12..].try_into().unwrap()),
        )
    }
}
