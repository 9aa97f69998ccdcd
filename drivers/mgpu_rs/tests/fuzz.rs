// SPDX-License-Identifier: GPL-2.0

//! A guest that makes any access at all: nothing panics, exceeds its bounds or hangs.

mod common;

use common::*;
use mgpu_model::state::State;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Read(u64),
    Write(u64, u32),
    Put(u32, [u8; 64]),
    Step(u8),
    TakeAndWrite(u64, u32),
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
    prop_oneof![
        4 => any_register,
        8 => (0..SLOTS).prop_map(|tail| (TAIL, tail)),
        2 => Just((CONTROL, ENABLE)),
        1 => Just((CONTROL, 0)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..0x1010u64).prop_map(Act::Read),
        8 => register_write().prop_map(|(reg, value)| Act::Write(reg, value)),
        8 => (0..SLOTS, words().boxed()).prop_map(|(slot, words)| Act::Put(slot, words)),
        8 => (1..9u8).prop_map(Act::Step),
        4 => register_write().prop_map(|(reg, value)| Act::TakeAndWrite(reg, value)),
        1 => Just(Act::Migrate),
        1 => Just(Act::Reset),
    ]
}

fn run(card: &mut Card, act: &Act) {
    match act {
        Act::Read(reg) => {
            card.read(*reg);
        }
        Act::Write(reg, value) => card.write(*reg, *value),
        Act::Put(slot, words) => {
            let at = *slot as usize * 64;
            card.guest.at(RING).memory.bytes[at..at + 64].copy_from_slice(words);
        }
        Act::Step(steps) => {
            for _ in 0..*steps {
                card.step();
            }
        }
        Act::TakeAndWrite(reg, value) => {
            let outcome = card.take().map(|work| card.execute(work));
            card.write(*reg, *value);
            outcome
                .into_iter()
                .for_each(|outcome| card.publish(outcome));
        }
        Act::Migrate => card.migrate(),
        Act::Reset => card.regs.reset(),
    }
}

proptest! {
    #[test]
    fn a_guest_that_does_anything_finds_a_device_that_can_be_saved_and_reset(
        acts in prop::collection::vec(act(), 1..150),
        scratch in 1..5000usize,
    ) {
        let mut card = Card::started();
        card.scratch.truncate(scratch);
        for act in &acts {
            let messages = card.messages;
            let was_up = card.regs.interrupt_level();
            run(&mut card, act);
            let is_up = card.regs.interrupt_level();
            prop_assert!(was_up || !is_up || card.messages > messages, "a lost interrupt");

            let state = card.regs.state().unwrap();
            let decoded = State::decode(&state.encode(), VRAM as u32);
            prop_assert_eq!(decoded, Ok(state));
            let runs = card.read(STATUS) & (ENABLED | HALTED) == ENABLED;
            prop_assert!(!runs || card.read(HEAD) < card.read(RING_SIZE));
        }
        card.regs.reset();
        card.start(RING, SLOTS);
        card.submit(&[fence(DATA, 1)]);
        card.run();
        prop_assert_eq!(card.fence_at(DATA), (1, 0, NO_INDEX));
    }
}
