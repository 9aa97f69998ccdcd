// SPDX-License-Identifier: GPL-2.0
//! The GPU of mgpu_rs: any registers, any commands in its rings, any saved state.

use arbitrary::Arbitrary;
use mgpu_model::{engine::Outcome, pages, state::State};

use crate::fixtures::mgpu::{
    base, fence, Card, Cmd, DATA, INTERRUPT, NO_INDEX, RINGS, RING_STRIDE, SLOTS, VRAM,
};
use crate::input;

#[derive(Arbitrary, Debug)]
enum Op {
    Read(u16),
    /// A register, by its number, of a ring.
    Write(u8, u8, u32),
    WriteAnywhere(u64, u32),
    /// A command, in a ring, at an index.
    Put(u8, u8, Words),
    /// Turns of a ring: a step is taken, or the one that is out is published.
    Turn(u8, u8),
    Migrate,
    Load(Box<[u8; State::LEN]>),
    Reset,
}

/// A command: each number is near one that means something, or is any.
#[derive(Arbitrary, Debug)]
struct Words {
    opcode: u8,
    flags: u8,
    dst: Number,
    src: Number,
    length: u32,
    height: u8,
    strides: [u16; 2],
    value: Number,
    bend: Option<(u8, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Number {
    Small(u16),
    NearData(i16),
    NearVram(i16),
    Any(u64),
}

impl Number {
    fn value(&self) -> u64 {
        match *self {
            Number::Small(number) => number.into(),
            Number::NearData(by) => DATA.wrapping_add_signed(by.into()),
            Number::NearVram(by) => (VRAM as u64).wrapping_add_signed(by.into()),
            Number::Any(number) => number,
        }
    }
}

impl Words {
    fn bytes(&self) -> [u8; 64] {
        let command = Cmd {
            opcode: self.opcode.into(),
            flags: self.flags.into(),
            dst: self.dst.value(),
            src: self.src.value(),
            length: self.length,
            height: self.height.into(),
            dst_stride: self.strides[0].into(),
            src_stride: self.strides[1].into(),
            value: self.value.value(),
            reserved: [0; 4],
        };
        let mut bytes = command.bytes();
        if let Some((at, value)) = self.bend {
            bytes[usize::from(at) % 64] = value;
        }
        bytes
    }
}

impl Op {
    /// Returns whether it acknowledges interrupts of a ring: those that remain are sent again.
    fn acknowledges(&self, of: usize) -> bool {
        matches!(self, Op::Write(ring, reg, _)
            if usize::from(*ring) % RINGS == of && register(*reg) == INTERRUPT)
    }
}

/// Returns the offset of a register of a ring, or of the function.
fn register(number: u8) -> u64 {
    4 * (u64::from(number) % 0x1c)
}

/// A card, and the steps of its rings that are out.
struct Rig {
    card: Card,
    out: [Option<Outcome>; RINGS],
}

/// Nothing panics or leaves its bounds; the state can be saved, loaded and reset at any time, and
/// the card works afterwards.
pub fn run(data: &[u8]) {
    let Some(ops) = input::of::<Vec<Op>>(data) else {
        return;
    };
    let mut rig = Rig {
        card: Card::started(),
        out: Default::default(),
    };
    for op in &ops {
        let (sent, were_up) = (rig.card.sent, rig.card.levels);
        rig.run(op);
        let loads = matches!(op, Op::Load(_));
        for ring in 0..RINGS {
            let rises = !loads && !were_up[ring] && rig.card.levels[ring];
            let remains = op.acknowledges(ring) && were_up[ring] && rig.card.levels[ring];
            let is_sent = rig.card.sent[ring] > sent[ring];
            assert!(is_sent || !rises && !remains, "a lost interrupt");
        }
        if let Some(state) = rig.card.regs.state() {
            assert_eq!(State::decode(&state.encode(), VRAM as u32), Ok(state));
        }
    }
    rig.settle();
    let card = &mut rig.card;
    card.reset();
    card.ring = 0;
    card.start(base(0), SLOTS);
    card.submit(&[fence(DATA, 1)]);
    card.run();
    assert_eq!(card.fence_at(DATA), (1, 0, NO_INDEX));
}

impl Rig {
    fn run(&mut self, op: &Op) {
        match *op {
            Op::Read(reg) => {
                self.card.regs.read(reg.into());
            }
            Op::Write(ring, reg, value) => {
                let ring = u64::from(ring) % RINGS as u64;
                self.card
                    .write_at(ring * RING_STRIDE + register(reg), value);
            }
            Op::WriteAnywhere(offset, value) => self.card.write_at(offset, value),
            Op::Put(ring, slot, ref words) => {
                let at = (u32::from(slot) % SLOTS) as usize * 64;
                let ring = usize::from(ring) % RINGS;
                let commands = &mut self.card.guest.at(base(ring)).memory;
                commands.bytes[at..at + 64].copy_from_slice(&words.bytes());
            }
            Op::Turn(ring, turns) => {
                for _ in 0..=turns % 32 {
                    self.turn(usize::from(ring) % RINGS);
                }
            }
            Op::Migrate => {
                self.settle();
                self.card.migrate();
            }
            Op::Load(ref bytes) => {
                if let Ok(state) = State::decode(&bytes[..], VRAM as u32) {
                    assert_eq!(state.encode(), **bytes, "a state that saves to other bytes");
                    self.settle();
                    self.card.restore(state);
                }
            }
            Op::Reset => self.card.reset(),
        }
    }

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
}

/// A saved state or a record of pages, as it comes: what is taken saves to the same bytes.
pub fn run_state(data: &[u8]) {
    if let Ok((first, bytes)) = pages::decode(data, VRAM as u32) {
        assert!(first * pages::PAGE + bytes.len() <= VRAM, "beyond VRAM");
        assert_eq!(pages::encode_header(first), data[..pages::HEADER_LEN]);
    }
    let Ok(state) = State::decode(data, VRAM as u32) else {
        return;
    };
    assert_eq!(state.encode(), data, "a state that saves to other bytes");
    let mut card = Card::new();
    card.restore(state);
    for ring in 0..RINGS {
        card.ring = ring;
        let _ = (0..64).all(|_| card.step());
    }
    card.migrate();
}
