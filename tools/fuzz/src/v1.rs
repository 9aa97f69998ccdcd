// SPDX-License-Identifier: GPL-2.0
//! Protocol v1's registers, read and written in any order, by states and by records of any length.

use arbitrary::Arbitrary;
use mdev_model::state::State;
use mdev_model::v1::{Access, Register, Session, WINDOW};

use crate::fixtures::v1::{Device, STOP, STOP_COPY};
use crate::input;

/// The most records of a stream.
const RECORDS: usize = 8;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Their lengths: bytes, but for high ones powers of two up to that of a window.
    records: Vec<u8>,
    early: u8,
    /// What is read again before each chunk is taken: a bit for each register.
    looks: Vec<u8>,
    accesses: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    /// An access of a register or the window, at an offset of the region.
    Read(u16, u8),
    Write(u16, u8, u64),
    /// A write of a small value, which more often means something.
    Set(u8, u8),
    /// An access with any numbers, which is only looked up.
    Anywhere(u64, u64),
    /// The next saves fail, or succeed again.
    Break(bool),
    /// One more record is ready while the device runs.
    Ready,
    /// The way from one of protocol v2's states to another.
    Walk(u8, u8),
}

/// Returns the length of a record.
fn len(number: u8) -> usize {
    match number {
        0..0xf0 => 1 + usize::from(number),
        _ => WINDOW as usize >> (number - 0xf0),
    }
}

/// Whatever was done to the registers, a session that begins anew gives the whole stream.
pub fn run(data: &[u8]) {
    let Some(input) = input::of::<Input>(data) else {
        return;
    };
    let records = input.records.iter().take(RECORDS);
    let records: Vec<usize> = records.map(|number| len(*number)).collect();
    let early = usize::from(input.early).min(records.len());
    let mut device = Device::new(&records, early);
    for op in input.accesses {
        op.run(&mut device);
    }
    device.breaks = false;
    device.set(STOP);
    device.set(STOP_COPY);
    let mut taken = Vec::new();
    let mut looks = input.looks.into_iter();
    loop {
        look(&mut device, looks.next().unwrap_or(0));
        let Some(chunk) = device.take() else {
            break;
        };
        assert!(chunk.len() as u64 <= WINDOW);
        taken.extend(chunk);
    }
    assert!(taken == device.stream(), "another stream than the device's");
}

/// Reads registers that do not announce a chunk, so that none is taken.
fn look(device: &mut Device, mut bits: u8) {
    while bits != 0 {
        device.read(match bits & 1 {
            0 => Register::PendingBytes,
            _ => Register::DataOffset,
        });
        bits >>= 1;
    }
}

impl Op {
    fn run(self, device: &mut Device) {
        match self {
            Op::Read(offset, len) => {
                if let Some(Access::Register(register)) = Access::of(offset.into(), len.into()) {
                    let read = register.read(device);
                    assert!(read.is_ok() || device.breaks, "a read fails");
                }
            }
            Op::Write(offset, len, value) => write(device, offset.into(), len.into(), value),
            Op::Set(register, value) => {
                let (offset, len) =
                    [(0, 4), (4, 4), (8, 8), (0x10, 8), (0x18, 8)][usize::from(register) % 5];
                write(device, offset, len, value.into());
            }
            Op::Anywhere(offset, len) => {
                if let Some(Access::Window { offset, len }) = Access::of(offset, len as usize) {
                    assert!((offset + len) as u64 <= WINDOW, "beyond the window");
                }
            }
            Op::Break(breaks) => device.breaks = breaks,
            Op::Walk(from, to) => walk(from.into(), to.into()),
            Op::Ready => device.early = (device.early + 1).min(device.records.len()),
        }
    }
}

/// Walks from a state to another: each arc is one that the next step agrees with, and none is taken
/// twice.
fn walk(from: u32, to: u32) {
    let (Some(mut state), Some(target)) = (State::from_raw(from), State::from_raw(to)) else {
        return;
    };
    let mut seen = vec![state.name()];
    while let Some((next, _)) = state.step_to(target) {
        assert!(!seen.contains(&next.name()), "a way in a circle: {seen:?}");
        seen.push(next.name());
        state = next;
    }
    let is_there = state == target;
    assert!(
        is_there || seen.len() == 1,
        "a way that ends before: {seen:?}"
    );
}

fn write(device: &mut Device, offset: u64, len: usize, value: u64) {
    let Some(Access::Register(register)) = Access::of(offset, len) else {
        return;
    };
    let before = device.state();
    if register.write(value, device).is_err() {
        assert_eq!(device.state(), before, "a write that is refused");
    }
}
