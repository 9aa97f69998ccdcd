// SPDX-License-Identifier: GPL-2.0
//! Commands of the toy GPU, as its user writes them.

use mgpu_model::uapi::{flag, opcode, COMMAND_LEN};

/// A command before it is in the ring; see `struct mgpu_command`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Command {
    /// One of MGPU_OP_*.
    pub opcode: u32,
    /// MGPU_DST_VRAM, MGPU_SRC_VRAM.
    pub flags: u32,
    /// Address to write.
    pub dst: u64,
    /// Address to read.
    pub src: u64,
    /// Bytes, or bytes in a row.
    pub length: u32,
    /// Rows.
    pub height: u32,
    /// From row to row.
    pub dst_stride: u32,
    /// From row to row.
    pub src_stride: u32,
    /// Pattern or fence.
    pub value: u64,
    /// The first of the reserved words.
    pub reserved: u32,
}

impl Command {
    /// Creates a FILL of VRAM.
    pub fn fill_vram(dst: usize, length: usize, value: u32) -> Command {
        Command {
            opcode: opcode::FILL,
            flags: flag::DST_VRAM,
            dst: dst as u64,
            length: length as u32,
            value: value.into(),
            ..Command::default()
        }
    }

    /// Creates a FILL of guest memory, by its address.
    pub fn fill_guest(dst: u64, length: usize, value: u32) -> Command {
        Command {
            flags: 0,
            dst,
            ..Command::fill_vram(0, length, value)
        }
    }

    /// Creates a COPY from guest memory to VRAM.
    pub fn upload(dst: usize, src: u64, length: usize) -> Command {
        Command {
            opcode: opcode::COPY,
            flags: flag::DST_VRAM,
            dst: dst as u64,
            src,
            length: length as u32,
            ..Command::default()
        }
    }

    /// Creates a COPY from VRAM to guest memory.
    pub fn download(dst: u64, src: usize, length: usize) -> Command {
        Command {
            flags: flag::SRC_VRAM,
            dst,
            src: src as u64,
            ..Command::upload(0, 0, length)
        }
    }

    /// Creates a FENCE.
    pub fn fence(dst: u64, value: u64) -> Command {
        Command {
            opcode: opcode::FENCE,
            dst,
            value,
            ..Command::default()
        }
    }

    /// Returns its words in the ring.
    pub fn encode(&self) -> [u8; COMMAND_LEN] {
        let mut bytes = [0; COMMAND_LEN];
        let words = [
            (0, self.opcode),
            (4, self.flags),
            (24, self.length),
            (28, self.height),
            (32, self.dst_stride),
            (36, self.src_stride),
            (48, self.reserved),
        ];
        for (at, word) in words {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        for (at, word) in [(8, self.dst), (16, self.src), (40, self.value)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
