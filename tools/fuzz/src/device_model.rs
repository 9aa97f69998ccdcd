// SPDX-License-Identifier: GPL-2.0
//! The guide's devices: any accesses of registers, a move between any two, any saved state.

use arbitrary::Arbitrary;
use digest_model::{Card, FORMAT, OLDER, REGISTERS};
use edu_model::Edu;
use mdev_model::record::{Field, Record};
use mdev_model::registers;
use mdev_model::testing::Machine;

use crate::input;

/// Bytes of guest memory.
const MEMORY: usize = 16 << 10;
/// The most steps between two operations.
const STEPS: usize = 64;

#[derive(Arbitrary, Debug)]
enum Op {
    Read(u8),
    Write(u8, Value),
    Step(u8),
    Move,
    Reset,
    /// A state as it comes, of a version that is read, perhaps.
    Load(u8, Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Byte(u8),
    Half(u16),
    Word(u32),
    Long(u64),
}

/// A device that is moved ends as one that stays.
pub fn run(data: &[u8]) {
    let Some(ops) = input::of::<Vec<Op>>(data) else {
        return;
    };
    let mut moved = Machine::<Edu>::new(MEMORY);
    let mut stays = Machine::<Edu>::new(MEMORY);
    for op in &ops {
        for (machine, moves) in [(&mut moved, true), (&mut stays, false)] {
            match op {
                Op::Read(_) => {}
                Op::Write(at, value) => write(machine, u64::from(*at), value),
                Op::Step(steps) => {
                    let _ = (0..usize::from(*steps) % STEPS).all(|_| machine.step());
                }
                Op::Move if moves => machine.migrate().expect("the device takes its own state"),
                Op::Move => {}
                Op::Reset => machine.reset(),
                Op::Load(_, bytes) => {
                    let _ = machine.load(1, bytes);
                }
            }
        }
        if let Op::Read(at) = op {
            let at = u64::from(*at);
            assert_eq!(moved.read::<u32>(at), stays.read::<u32>(at), "at {at:#x}");
        }
        assert!(moved.device().check().is_ok());
        assert_eq!(encode(moved.device()), encode(stays.device()));
        assert_eq!(moved.interrupts(), stays.interrupts());
    }
    assert!(moved.memory() == stays.memory(), "other guest memory");
    run_digest(&ops);
}

fn write(machine: &mut Machine<Edu>, at: u64, value: &Value) {
    match *value {
        Value::Byte(value) => machine.write(at, value),
        Value::Half(value) => machine.write(at, value),
        Value::Word(value) => machine.write(at, value),
        Value::Long(value) => machine.write(at, value),
    }
}

/// The same on the digest card, which reads an older version.
fn run_digest(ops: &[Op]) {
    let (mut moved, mut stays) = (Card::ZERO, Card::ZERO);
    for op in ops {
        match op {
            Op::Read(at) => {
                let read = |card| {
                    let mut data = [0xa5; 8];
                    registers::read(REGISTERS, card, (*at).into(), &mut data);
                    data
                };
                assert_eq!(read(&moved), read(&stays), "at {at:#x}");
            }
            Op::Write(at, value) => {
                let bytes = match *value {
                    Value::Byte(value) => vec![value],
                    Value::Half(value) => value.to_le_bytes().into(),
                    Value::Word(value) => value.to_le_bytes().into(),
                    Value::Long(value) => value.to_le_bytes().into(),
                };
                let (before, pending) = (ring(&stays), pending(&stays));
                for card in [&mut moved, &mut stays] {
                    registers::write(REGISTERS, card, (*at).into(), &bytes);
                }
                if pending == 0 {
                    assert_eq!(ring(&stays), written(before, (*at).into(), &bytes));
                }
            }
            Op::Step(_) => {}
            Op::Move => {
                moved = Card::decode(&encode(&moved)).expect("the card takes its own state");
            }
            Op::Reset => (moved, stays) = (Card::ZERO, Card::ZERO),
            Op::Load(version, bytes) => {
                let version = u16::from(*version) % (FORMAT.version + 1);
                let older = OLDER.iter().find(|older| older.version() == version);
                let loaded = match older {
                    Some(older) => older.load(bytes),
                    None => Card::decode(bytes),
                };
                if let Ok(card) = loaded {
                    (moved, stays) = (card, card);
                }
            }
        }
        assert!(moved.check().is_ok(), "{moved:?}");
        assert_eq!(encode(&moved), encode(&stays));
    }
}

/// Reads RING, which keeps what is written to it while no request is pending.
fn ring(card: &Card) -> [u8; 8] {
    let mut data = [0; 8];
    registers::read(REGISTERS, card, 0, &mut data);
    data
}

/// Reads PENDING.
fn pending(card: &Card) -> u32 {
    let mut data = [0; 4];
    registers::read(REGISTERS, card, 0x14, &mut data);
    u32::from_le_bytes(data)
}

/// Returns the bytes after a write of others at an offset.
fn written(mut bytes: [u8; 8], at: usize, new: &[u8]) -> [u8; 8] {
    for (at, byte) in (at..8).zip(new) {
        bytes[at] = *byte;
    }
    bytes
}

fn encode<R: Record>(record: &R) -> Vec<u8> {
    let mut bytes = vec![0; R::LEN];
    record.put(&mut bytes);
    bytes
}
