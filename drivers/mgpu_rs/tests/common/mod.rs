// SPDX-License-Identifier: GPL-2.0

//! Shared by the tests: the header's numbers and the layout of a command, independent of the
//! model's so that the tests compare them, and a card on a test's memory.
#![allow(dead_code, unused_imports)] // each test binary uses its part

mod card;
mod memory;
mod reference;

pub use card::Card;
pub use memory::{Guest, Memory};
pub use reference::Reference;

use proptest::prelude::*;

pub const STATUS: u64 = 0x10;
pub const CONTROL: u64 = 0x14;
pub const INTERRUPT: u64 = 0x18;
pub const INTERRUPT_ENABLE: u64 = 0x1c;
pub const ERROR: u64 = 0x20;
pub const ERROR_INDEX: u64 = 0x24;
pub const RING_BASE_LO: u64 = 0x28;
pub const RING_BASE_HI: u64 = 0x2c;
pub const RING_SIZE: u64 = 0x30;
pub const HEAD: u64 = 0x34;
pub const TAIL: u64 = 0x38;
pub const FENCE_LO: u64 = 0x40;
pub const FENCE_HI: u64 = 0x44;
pub const DISPLAY_CONTROL: u64 = 0x50;
pub const DISPLAY_WIDTH: u64 = 0x54;
pub const DISPLAY_HEIGHT: u64 = 0x58;
pub const DISPLAY_STRIDE: u64 = 0x5c;

/// Number of rings, and the distance of their registers.
pub const RINGS: usize = 4;
pub const RING_STRIDE: u64 = 0x100;

pub const BUSY: u32 = 1;
pub const ENABLED: u32 = 2;
pub const HALTED: u32 = 4;
pub const ENABLE: u32 = 1;
pub const RESET: u32 = 2;
pub const INT_FENCE: u32 = 1;
pub const INT_ERROR: u32 = 2;

pub const E_OPCODE: u32 = 1;
pub const E_RESERVED: u32 = 2;
pub const E_LENGTH: u32 = 3;
pub const E_ALIGNMENT: u32 = 4;
pub const E_RANGE: u32 = 5;
pub const E_OVERLAP: u32 = 6;
pub const E_GUEST_READ: u32 = 7;
pub const E_GUEST_WRITE: u32 = 8;
pub const E_RING_GEOMETRY: u32 = 16;
pub const E_RING_TAIL: u32 = 17;
pub const E_RING_READ: u32 = 18;
pub const E_DISPLAY: u32 = 32;
pub const NO_INDEX: u32 = 0xffff_ffff;

pub const DST_VRAM: u32 = 1;
pub const SRC_VRAM: u32 = 2;

/// VRAM of the tests' card. No real card has so little, but the model does not depend on that.
pub const VRAM: usize = 256 << 10;
/// Guest memory for the data of commands.
pub const DATA: u64 = 0x12_3456_7000;
pub const DATA_LEN: usize = 256 << 10;
/// From the data of one ring to that of the next, on a card of four areas.
pub const DATA_STRIDE: u64 = 1 << 36;
/// Guest memory of ring 0.
pub const RING: u64 = 0x8000_0000;
/// Commands in the ring.
pub const SLOTS: u32 = 64;

/// A command in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cmd {
    pub opcode: u32,
    pub flags: u32,
    pub dst: u64,
    pub src: u64,
    pub length: u32,
    pub height: u32,
    pub dst_stride: u32,
    pub src_stride: u32,
    pub value: u64,
    pub reserved: [u32; 4],
}

impl Cmd {
    pub fn bytes(&self) -> [u8; 64] {
        let mut out = [0; 64];
        out[0..4].copy_from_slice(&self.opcode.to_le_bytes());
        out[4..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..16].copy_from_slice(&self.dst.to_le_bytes());
        out[16..24].copy_from_slice(&self.src.to_le_bytes());
        out[24..28].copy_from_slice(&self.length.to_le_bytes());
        out[28..32].copy_from_slice(&self.height.to_le_bytes());
        out[32..36].copy_from_slice(&self.dst_stride.to_le_bytes());
        out[36..40].copy_from_slice(&self.src_stride.to_le_bytes());
        out[40..48].copy_from_slice(&self.value.to_le_bytes());
        for (i, word) in self.reserved.iter().enumerate() {
            out[48 + 4 * i..52 + 4 * i].copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Returns the same command in the area of a ring of [`Card::of_four`].
    pub fn in_area(self, ring: usize) -> Self {
        let area = |vram| {
            ring as u64
                * if self.flags & vram != 0 {
                    VRAM as u64
                } else {
                    DATA_STRIDE
                }
        };
        let mut cmd = self;
        // The addresses that the opcode has.
        if (1..=5).contains(&cmd.opcode) {
            cmd.dst += area(DST_VRAM);
        }
        if (2..=4).contains(&cmd.opcode) {
            cmd.src += area(SRC_VRAM);
        }
        cmd
    }
}

/// Returns where the commands of a ring are in guest memory.
pub fn base(ring: usize) -> u64 {
    RING + ring as u64 * 0x10_0000
}

/// Generates a ring's number.
pub fn any_ring() -> std::ops::Range<usize> {
    0..RINGS
}

pub fn nop() -> Cmd {
    Cmd::default()
}

pub fn fill(flags: u32, dst: u64, length: u32, pattern: u32) -> Cmd {
    Cmd {
        opcode: 1,
        flags,
        dst,
        length,
        value: pattern.into(),
        ..nop()
    }
}

pub fn copy(flags: u32, dst: u64, src: u64, length: u32) -> Cmd {
    Cmd {
        opcode: 2,
        flags,
        dst,
        src,
        length,
        ..nop()
    }
}

/// `(address, stride)` of either side, `(bytes, rows)`.
pub fn blit(flags: u32, dst: (u64, u32), src: (u64, u32), size: (u32, u32)) -> Cmd {
    Cmd {
        opcode: 3,
        dst_stride: dst.1,
        src_stride: src.1,
        height: size.1,
        ..copy(flags, dst.0, src.0, size.0)
    }
}

pub fn crc32c(flags: u32, dst: u64, src: u64, length: u32) -> Cmd {
    Cmd {
        opcode: 4,
        ..copy(flags, dst, src, length)
    }
}

pub fn fence(dst: u64, value: u64) -> Cmd {
    Cmd {
        opcode: 5,
        dst,
        value,
        ..nop()
    }
}

/// Generates lengths around every boundary that a length can cross.
pub fn length() -> impl Strategy<Value = u32> {
    prop_oneof![1..9u32, 60..70u32, 4090..4102u32, 1..20_000u32]
}

/// Generates a place of `len` bytes, and whether it is in VRAM.
fn place(len: u32) -> impl Strategy<Value = (bool, u64)> {
    let guest = DATA_LEN as u64 - u64::from(len);
    let vram = VRAM as u64 - u64::from(len);
    prop_oneof![
        (0..=guest).prop_map(|at| (false, DATA + at)),
        (0..=vram).prop_map(|at| (true, at)),
    ]
}

fn flags(dst: bool, src: bool) -> u32 {
    (if dst { DST_VRAM } else { 0 }) | (if src { SRC_VRAM } else { 0 })
}

pub fn any_fill() -> impl Strategy<Value = Cmd> {
    length()
        .prop_flat_map(|len| (place(len), Just(len), any::<u32>()))
        .prop_map(|((vram, dst), len, pattern)| fill(flags(vram, false), dst, len, pattern))
}

pub fn any_copy() -> impl Strategy<Value = Cmd> {
    let anywhere = length()
        .prop_flat_map(|len| (place(len), place(len), Just(len)))
        .prop_map(|((to, dst), (from, src), len)| copy(flags(to, from), dst, src, len));
    let close_by = (length(), -300..300i64, 300..100_000u64, any::<bool>()).prop_map(
        |(len, distance, at, vram)| {
            let src = if vram { at } else { DATA + at };
            let dst = src.checked_add_signed(distance).unwrap();
            copy(flags(vram, vram), dst, src, len)
        },
    );
    prop_oneof![anywhere, close_by]
}

/// Generates BLITs anywhere, and BLITs that overlap with equal strides.
pub fn any_blit() -> impl Strategy<Value = Cmd> {
    let shape = || (1..200u32, 1..60u32, 0..700u32);
    let anywhere = (shape(), 0..700u32)
        .prop_flat_map(|((width, height, more), more_src)| {
            let span = |stride| (height - 1) * stride + width;
            let (dst, src) = (width + more, width + more_src);
            (
                place(span(dst)),
                place(span(src)),
                Just((width, height, dst, src)),
            )
        })
        .prop_map(
            |((to, dst), (from, src), (width, height, dst_stride, src_stride))| {
                let flags = flags(to, from);
                blit(flags, (dst, dst_stride), (src, src_stride), (width, height))
            },
        );
    let scroll = (shape(), -9000..9000i64, 9000..100_000u64).prop_map(
        |((width, height, more), distance, src)| {
            let dst = src.checked_add_signed(distance).unwrap();
            let stride = width + more;
            let both = DST_VRAM | SRC_VRAM;
            blit(both, (dst, stride), (src, stride), (width, height))
        },
    );
    prop_oneof![anywhere, scroll]
}

pub fn any_crc32c() -> impl Strategy<Value = Cmd> {
    length()
        .prop_flat_map(|len| (place(len), Just(len), 0..DATA_LEN as u64 / 4))
        .prop_map(|((vram, src), len, word)| crc32c(flags(false, vram), DATA + 4 * word, src, len))
}

pub fn any_fence() -> impl Strategy<Value = Cmd> {
    (0..DATA_LEN as u64 / 16, any::<u64>()).prop_map(|(at, value)| fence(DATA + 16 * at, value))
}

/// Generates up to `most` commands, some of which fail.
pub fn any_work(most: usize) -> impl Strategy<Value = Vec<Cmd>> {
    let bad = prop_oneof![
        Just(Cmd { opcode: 9, ..nop() }),
        Just(fill(0, 0, 100, 0)),
        Just(copy(DST_VRAM, 0, 0x1000, 100)),
    ];
    let any = prop_oneof![9 => any_good(), 1 => bad];
    prop::collection::vec(any, 1..most)
}

/// Generates any command that must succeed, except a BLIT that overlaps with two strides. Boxed,
/// because hundreds of these strategies do not fit on a test's stack.
pub fn any_good() -> impl Strategy<Value = Cmd> {
    prop_oneof![
        1 => Just(nop()).boxed(),
        3 => any_fill().boxed(),
        3 => any_copy().boxed(),
        3 => any_blit().boxed(),
        3 => any_crc32c().boxed(),
        2 => any_fence().boxed(),
    ]
}
