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
static FOUR_PATTERN: LazyLock<Memory> =
    LazyLock::new(|| Memory::patterned(RINGS * VRAM, 0x00dd_ba11));

/// A card, and a driver of it that uses one ring at a time.
#[derive(Debug)]
pub struct Card {
    pub regs: Registers,
    pub guest: Guest,
    pub vram: Memory,
    pub scratch: Vec<u8>,
    /// The number of messages sent, by vector.
    pub sent: [usize; RINGS],
    /// The level of each vector, as the glue has set it.
    pub levels: [bool; RINGS],
    /// Whether the ring's worker was kicked since it last found no work.
    pub kicked: [bool; RINGS],
    /// The index for the next command of each ring.
    tails: [u32; RINGS],
    /// The ring that the methods use.
    pub ring: usize,
}

impl Card {
    fn with(vram: &Memory) -> Self {
        let mut guest = Guest::default();
        guest.map(DATA, DATA_PATTERN.clone());
        for ring in 0..RINGS {
            guest.map(base(ring), Memory::new(vec![0; SLOTS as usize * 64]));
        }
        Card {
            regs: Registers::new(vram.bytes.len() as u32),
            guest,
            vram: vram.clone(),
            // Larger than the part that a step may use.
            scratch: vec![0; 2 * SLICE],
            sent: [0; RINGS],
            levels: [false; RINGS],
            kicked: [false; RINGS],
            tails: [0; RINGS],
            ring: 0,
        }
    }

    /// Creates a card after power-on, with patterns in guest memory and VRAM.
    pub fn new() -> Self {
        Self::with(&VRAM_PATTERN)
    }

    /// Creates the same with one ring enabled, which the methods use, and its interrupts unmasked.
    pub fn started_on(ring: usize) -> Self {
        let mut card = Self::new();
        card.ring = ring;
        card.start(base(ring), SLOTS);
        card
    }

    /// Creates the same with ring 0.
    pub fn started() -> Self {
        Self::started_on(0)
    }

    /// Creates a card with all rings enabled, and an area of [`VRAM`] bytes of VRAM and one of
    /// [`DATA_LEN`] bytes of guest memory for each: [`Cmd::in_area`].
    pub fn of_four() -> Self {
        let mut card = Self::with(&FOUR_PATTERN);
        for ring in 0..RINGS {
            let area = DATA + ring as u64 * DATA_STRIDE;
            card.guest.map(area, DATA_PATTERN.clone());
            card.ring = ring;
            card.start(base(ring), SLOTS);
        }
        card
    }

    pub fn start(&mut self, base: u64, size: u32) {
        self.write(INTERRUPT_ENABLE, INT_FENCE | INT_ERROR);
        self.write(RING_BASE_LO, base as u32);
        self.write(RING_BASE_HI, (base >> 32) as u32);
        self.write(RING_SIZE, size);
        self.write(CONTROL, ENABLE);
        self.tails[self.ring] = 0;
    }

    /// Returns the offset of a register: of the ring, or of the function if it has it alone.
    fn offset(&self, reg: u64) -> u64 {
        let of_a_ring = (STATUS..=FENCE_HI).contains(&reg);
        let ring = if of_a_ring { self.ring as u64 } else { 0 };
        reg + ring * RING_STRIDE
    }

    pub fn read(&self, reg: u64) -> u32 {
        self.regs.read(self.offset(reg))
    }

    pub fn write(&mut self, reg: u64, value: u32) {
        self.write_at(self.offset(reg), value);
    }

    /// Writes to any offset of the BAR.
    pub fn write_at(&mut self, offset: u64, value: u32) {
        let effects = self.regs.write(offset, value);
        self.act(effects);
    }

    /// Resets the function.
    pub fn reset(&mut self) {
        self.regs.reset();
        self.act(Effects::default());
    }

    fn act(&mut self, effects: Effects) {
        for (ring, effect) in effects.into_iter().enumerate() {
            self.sent[ring] += usize::from(effect.message);
            self.levels[ring] = self.regs.interrupt_level(ring);
            self.kicked[ring] |= effect.kick;
        }
    }

    /// Returns the number of messages sent by the ring's vector.
    pub fn messages(&self) -> usize {
        self.sent[self.ring]
    }

    /// Puts a command where the guest's driver would, without the doorbell.
    pub fn put(&mut self, cmd: &Cmd) {
        let tail = &mut self.tails[self.ring];
        let at = *tail as usize * 64;
        let commands = &mut self.guest.at(base(self.ring)).memory;
        commands.bytes[at..at + 64].copy_from_slice(&cmd.bytes());
        *tail = (*tail + 1) % self.regs.read(RING_SIZE + self.ring as u64 * RING_STRIDE);
    }

    pub fn doorbell(&mut self) {
        self.write(TAIL, self.tails[self.ring]);
    }

    pub fn submit(&mut self, cmds: &[Cmd]) {
        cmds.iter().for_each(|cmd| self.put(cmd));
        self.doorbell();
    }

    pub fn take(&mut self) -> Option<Work> {
        self.regs.take_work(self.ring)
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
        let effects = self.regs.publish(self.ring, outcome);
        self.act(effects);
    }

    /// Runs one turn of the worker's loop; `false` if there was no work.
    pub fn step(&mut self) -> bool {
        let Some(work) = self.take() else {
            self.kicked[self.ring] = false;
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
        let vram_size = self.vram.bytes.len() as u32;
        let bytes = self.regs.state().unwrap().encode();
        let state = State::decode(&bytes, vram_size).unwrap();
        self.regs = Registers::new(vram_size);
        self.restore(state);
    }

    /// Loads a state.
    pub fn restore(&mut self, state: State) {
        let effects = self.regs.restore(state);
        let edge = effects.iter().any(|effect| effect.message);
        assert!(!edge, "the glue sets the level, without an edge");
        self.act(effects);
    }

    /// Returns everything that a guest can see of the registers.
    pub fn visible(&self) -> Vec<u32> {
        let offsets = (0..0x1000).step_by(4);
        offsets.map(|offset| self.regs.read(offset)).collect()
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
