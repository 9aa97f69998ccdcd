// SPDX-License-Identifier: GPL-2.0

//! A guest that makes any access at all: nothing panics, exceeds its bounds or hangs.

mod common;

use common::*;
use mgpu_model::{engine::Outcome, state::State};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Read(u64),
    Write(u64, u32),
    /// Ring, index, command.
    Put(usize, u32, [u8; 64]),
    Step(usize, u8),
    /// Takes and executes a step of a ring, or publishes the one that is out.
    Turn(usize),
    Migrate,
    Reset,
}

/// Generates numbers near boundaries.
fn number() -> impl Strategy<Value = u64> {
    let near = prop_oneof![
        Just(0),
        Just(DATA),
        Just(RING),
        Just(VRAM as u64),
        Just(DATA + DATA_LEN as u64),
        Just(1 << 32),
    ];
    prop_oneof![
        4 => (near, -70..70i64).prop_map(|(near, by)| near.wrapping_add_signed(by)),
        2 => 0..5000u64,
        1 => any::<u64>(),
    ]
}

/// Generates command words with mostly valid fields.
fn words() -> impl Strategy<Value = [u8; 64]> {
    let twisted = (any_good(), 0..64usize, any::<u8>()).prop_map(|(cmd, at, value)| {
        let mut bytes = cmd.bytes();
        bytes[at] = value;
        bytes
    });
    let numbers = (0..7u32, 0..4u32, prop::array::uniform3(number()), number()).prop_map(
        |(opcode, flags, [dst, src, value], length)| {
            let cmd = Cmd {
                opcode,
                flags,
                dst,
                src,
                length: length as u32,
                value,
                ..nop()
            };
            cmd.bytes()
        },
    );
    prop_oneof![
        3 => any_good().prop_map(|cmd| cmd.bytes()).boxed(),
        3 => twisted.boxed(),
        3 => numbers.boxed(),
        1 => prop::array::uniform32(any::<u16>()).prop_map(|words| {
            let mut bytes = [0; 64];
            for (to, word) in bytes.chunks_mut(2).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            bytes
        }),
    ]
}

fn register_write() -> impl Strategy<Value = (u64, u32)> {
    let any_register = (0..0x19u64, number()).prop_map(|(reg, value)| (4 * reg, value as u32));
    let of_a_ring = prop_oneof![
        4 => any_register,
        8 => (0..SLOTS).prop_map(|tail| (TAIL, tail)),
        2 => Just((CONTROL, ENABLE)),
        1 => Just((CONTROL, 0)),
    ];
    let of_any = (of_a_ring, any_ring());
    of_any.prop_map(|((reg, value), ring)| (reg + ring as u64 * RING_STRIDE, value))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..0x1010u64).prop_map(Act::Read),
        8 => register_write().prop_map(|(reg, value)| Act::Write(reg, value)),
        8 => (any_ring(), 0..SLOTS, words().boxed())
            .prop_map(|(ring, slot, words)| Act::Put(ring, slot, words)),
        6 => (any_ring(), 1..9u8).prop_map(|(ring, steps)| Act::Step(ring, steps)),
        8 => any_ring().prop_map(Act::Turn),
        1 => Just(Act::Migrate),
        1 => Just(Act::Reset),
    ]
}

/// A card and the steps of its rings that are out.
struct Rig {
    card: Card,
    out: [Option<Outcome>; RINGS],
}

impl Rig {
    fn turn(&mut self, ring: usize) {
        self.card.ring = ring;
        if let Some(outcome) = self.out[ring].take() {
            self.card.publish(outcome);
        } else {
            self.out[ring] = self.card.take().map(|work| self.card.execute(work));
        }
    }

    /// Publishes all that is out.
    fn settle(&mut self) {
        for ring in 0..RINGS {
            if self.out[ring].is_some() {
                self.turn(ring);
            }
        }
    }

    fn run(&mut self, act: &Act) {
        match *act {
            Act::Read(reg) => {
                self.card.regs.read(reg);
            }
            Act::Write(reg, value) => self.card.write_at(reg, value),
            Act::Put(ring, slot, words) => {
                let at = slot as usize * 64;
                let commands = &mut self.card.guest.at(base(ring)).memory;
                commands.bytes[at..at + 64].copy_from_slice(&words);
            }
            Act::Step(ring, steps) => {
                for _ in 0..2 * steps {
                    self.turn(ring);
                }
            }
            Act::Turn(ring) => self.turn(ring),
            Act::Migrate => {
                self.settle();
                self.card.migrate();
            }
            Act::Reset => self.card.reset(),
        }
    }
}

proptest! {
    #[test]
    fn a_guest_that_does_anything_finds_a_device_that_can_be_saved_and_reset(
        acts in prop::collection::vec(act(), 1..150),
        scratch in 1..5000usize,
        ring in any_ring(),
    ) {
        let mut rig = Rig { card: Card::of_four(), out: Default::default() };
        rig.card.scratch.truncate(scratch);
        for act in &acts {
            let (sent, were_up) = (rig.card.sent, rig.card.levels);
            rig.run(act);
            for ring in 0..RINGS {
                let rises = !were_up[ring] && rig.card.levels[ring];
                prop_assert!(!rises || rig.card.sent[ring] > sent[ring], "a lost interrupt");
            }
            if let Some(state) = rig.card.regs.state() {
                let decoded = State::decode(&state.encode(), (RINGS * VRAM) as u32);
                prop_assert_eq!(decoded, Ok(state));
            }
            prop_assert_eq!(rig.card.regs.state().is_none(), rig.out.iter().any(Option::is_some));
            for ring in 0..RINGS {
                rig.card.ring = ring;
                let runs = rig.card.read(STATUS) & (ENABLED | HALTED) == ENABLED;
                prop_assert!(!runs || rig.card.read(HEAD) < rig.card.read(RING_SIZE));
            }
        }
        rig.settle();
        let card = &mut rig.card;
        card.reset();
        card.ring = ring;
        card.start(base(ring), SLOTS);
        card.submit(&[fence(DATA, 1)]);
        card.run();
        prop_assert_eq!(card.fence_at(DATA), (1, 0, NO_INDEX));
    }
}
