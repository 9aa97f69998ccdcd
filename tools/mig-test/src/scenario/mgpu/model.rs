// SPDX-License-Identifier: GPL-2.0
//! A model of the effect of commands on memory, as `uapi/mgpu.h` defines it, and random valid
//! commands.

use std::ops::Range;

use crc32c::crc32c;
use mgpu_model::uapi::{flag, opcode};
use mig_common::random::Random;

use super::card::{Command, DATA, GUEST, IOVA, VRAM};

/// The maximum of bytes of a random command.
const LENGTH: usize = 300_000;
/// The maximum of bytes of a random checksum, which the model computes too.
const SUMMED: usize = 20_000;

/// Where random commands have their data.
pub struct Area {
    /// Offsets in guest memory.
    pub guest: Range<usize>,
    /// Offsets in VRAM.
    pub vram: Range<usize>,
}

impl Area {
    /// The data of guest memory, and all of VRAM.
    pub const WHOLE: Area = Area {
        guest: DATA..GUEST,
        vram: 0..VRAM,
    };
}

/// The expected memory.
pub struct Shadow {
    /// Guest memory.
    pub guest: Vec<u8>,
    /// VRAM.
    pub vram: Vec<u8>,
}

impl Shadow {
    /// Executes a valid command.
    pub fn execute(&mut self, command: &Command) {
        let Command {
            opcode,
            flags,
            dst,
            src,
            length,
            height,
            dst_stride,
            src_stride,
            value,
            reserved: _,
        } = *command;
        let length = length as usize;
        let (dst, src) = (
            place(dst, flags & flag::DST_VRAM != 0),
            place(src, flags & flag::SRC_VRAM != 0),
        );
        match opcode {
            opcode::FILL => {
                let pattern = (value as u32).to_le_bytes().repeat(length.div_ceil(4));
                self.of(dst.0)[dst.1..dst.1 + length].copy_from_slice(&pattern[..length]);
            }
            opcode::COPY => self.copy(dst, src, length, 1, (0, 0)),
            opcode::BLIT => {
                let strides = (dst_stride as usize, src_stride as usize);
                self.copy(dst, src, length, height as usize, strides);
            }
            opcode::CRC32C => {
                let sum = crc32c(&self.of(src.0)[src.1..src.1 + length]);
                self.guest[dst.1..dst.1 + 4].copy_from_slice(&sum.to_le_bytes());
            }
            opcode::FENCE => {
                // Without a failure since the fence before.
                let bytes = [value.to_le_bytes(), [0, 0, 0, 0, 255, 255, 255, 255]].concat();
                self.guest[dst.1..dst.1 + 16].copy_from_slice(&bytes);
            }
            _ => {}
        }
    }

    fn copy(
        &mut self,
        dst: (bool, usize),
        src: (bool, usize),
        width: usize,
        height: usize,
        strides: (usize, usize),
    ) {
        let from = self.of(src.0);
        let row = |row| src.1 + row * strides.1;
        let before: Vec<Vec<u8>> = (0..height)
            .map(|y| from[row(y)..row(y) + width].to_vec())
            .collect();
        let to = self.of(dst.0);
        for (y, bytes) in before.iter().enumerate() {
            let at = dst.1 + y * strides.0;
            to[at..at + width].copy_from_slice(bytes);
        }
    }

    fn of(&mut self, vram: bool) -> &mut [u8] {
        match vram {
            true => &mut self.vram,
            false => &mut self.guest,
        }
    }
}

/// Returns whether an address is in VRAM, and the offset in the memory.
fn place(at: u64, vram: bool) -> (bool, usize) {
    let base = if vram { 0 } else { IOVA };
    (vram, at.wrapping_sub(base) as usize)
}

/// Returns a command on memory of an area, with any alignment.
pub fn random_command(random: &mut Random, area: &Area) -> Command {
    let opcode = [
        opcode::NOP,
        opcode::FILL,
        opcode::COPY,
        opcode::COPY,
        opcode::BLIT,
        opcode::CRC32C,
        opcode::FENCE,
    ][random.below(7)];
    let (to_vram, from_vram) = (random.coin(), random.coin());
    let of = |on, flag| if on { flag } else { 0 };
    let command = Command {
        opcode,
        ..Command::default()
    };
    match opcode {
        opcode::FILL => {
            let length = random.size(LENGTH);
            Command {
                flags: of(to_vram, flag::DST_VRAM),
                dst: somewhere(random, area, to_vram, length),
                length: length as u32,
                value: random.next_u64() >> 32,
                ..command
            }
        }
        opcode::COPY => {
            let length = random.size(LENGTH);
            let dst = somewhere(random, area, to_vram, length);
            Command {
                flags: of(to_vram, flag::DST_VRAM) | of(from_vram, flag::SRC_VRAM),
                dst,
                src: source(random, area, dst, (to_vram, from_vram), length),
                length: length as u32,
                ..command
            }
        }
        opcode::BLIT => {
            let (width, height) = (random.size(5000), random.size(60));
            let stride = |random: &mut Random| width + random.size(4000) - 1;
            let (dst_stride, mut src_stride) = (stride(random), stride(random));
            if to_vram == from_vram {
                // Different strides are for sides that do not overlap.
                src_stride = dst_stride;
            }
            let span = (height - 1) * dst_stride.max(src_stride) + width;
            let dst = somewhere(random, area, to_vram, span);
            Command {
                flags: of(to_vram, flag::DST_VRAM) | of(from_vram, flag::SRC_VRAM),
                dst,
                src: source(random, area, dst, (to_vram, from_vram), span),
                length: width as u32,
                height: height as u32,
                dst_stride: dst_stride as u32,
                src_stride: src_stride as u32,
                ..command
            }
        }
        opcode::CRC32C => {
            let length = random.size(SUMMED);
            Command {
                flags: of(from_vram, flag::SRC_VRAM),
                dst: somewhere(random, area, false, 8) & !3,
                src: somewhere(random, area, from_vram, length),
                length: length as u32,
                ..command
            }
        }
        opcode::FENCE => Command {
            dst: somewhere(random, area, false, 32) & !15,
            value: random.next_u64(),
            ..command
        },
        _ => command,
    }
}

/// Returns an address in an area with `length` bytes from it on, and with space to align it
/// downwards.
fn somewhere(random: &mut Random, area: &Area, vram: bool, length: usize) -> u64 {
    let (base, Range { start, end }) = match vram {
        true => (0, area.vram.clone()),
        false => (IOVA, area.guest.start + 16..area.guest.end),
    };
    base + (start + random.below(end - start - length + 1)) as u64
}

/// Returns the source of a copy of `length` bytes to `dst`: often so close that both overlap.
fn source(
    random: &mut Random,
    area: &Area,
    dst: u64,
    (to_vram, from_vram): (bool, bool),
    length: usize,
) -> u64 {
    let anywhere = somewhere(random, area, from_vram, length);
    let shift = random.size(length) as u64;
    let (base, Range { start, end }) = match from_vram {
        true => (0, &area.vram),
        false => (IOVA, &area.guest),
    };
    let (first, end) = (base + *start as u64, base + *end as u64);
    let close = match random.below(3) {
        0 => dst.saturating_sub(shift),
        1 => dst + shift,
        _ => anywhere,
    };
    let fits = close >= first && close + length as u64 <= end;
    if to_vram == from_vram && fits {
        close
    } else {
        anywhere
    }
}
