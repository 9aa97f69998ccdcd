// SPDX-License-Identifier: GPL-2.0

//! A reference for the effect of commands on memory: executes each as a whole, in order.

use super::{Card, Cmd, Memory, DATA, DST_VRAM, E_OVERLAP, NO_INDEX, SRC_VRAM};

/// The memories of a card. Only valid commands may run on them.
#[derive(Clone, Debug)]
pub struct Reference {
    pub data: Memory,
    pub vram: Memory,
    /// Status and index for the next fence.
    failed: Option<(u32, u32)>,
    /// The number of commands run so far: the index of the next in a ring that has not wrapped.
    index: u32,
}

impl Reference {
    pub fn of(card: &Card) -> Self {
        Reference {
            data: card.data().clone(),
            vram: card.vram.clone(),
            failed: None,
            index: 0,
        }
    }

    fn side(&mut self, vram: bool, at: u64) -> (&mut Memory, usize) {
        if vram {
            (&mut self.vram, at as usize)
        } else {
            (&mut self.data, (at - DATA) as usize)
        }
    }

    fn read(&mut self, vram: bool, at: u64, len: u32) -> Vec<u8> {
        let (memory, at) = self.side(vram, at);
        memory.bytes[at..at + len as usize].to_vec()
    }

    fn write(&mut self, vram: bool, at: u64, data: &[u8]) {
        let (memory, at) = self.side(vram, at);
        memory.put(at, data);
    }

    /// Returns the number of bytes from the first to the last of one side.
    fn span(cmd: &Cmd, stride: u32) -> u64 {
        u64::from(cmd.height - 1) * u64::from(stride) + u64::from(cmd.length)
    }

    fn is_refused(cmd: &Cmd) -> bool {
        let same_space = (cmd.flags & DST_VRAM != 0) == (cmd.flags & SRC_VRAM != 0);
        let dst = cmd.dst..cmd.dst + Self::span(cmd, cmd.dst_stride);
        let src = cmd.src..cmd.src + Self::span(cmd, cmd.src_stride);
        let overlap = dst.start.max(src.start) < dst.end.min(src.end);
        same_space && overlap && cmd.dst_stride != cmd.src_stride
    }

    pub fn run(&mut self, cmd: &Cmd) {
        let dst_vram = cmd.flags & DST_VRAM != 0;
        let src_vram = cmd.flags & SRC_VRAM != 0;
        match cmd.opcode {
            1 => {
                let pattern = (cmd.value as u32).to_le_bytes();
                let data: Vec<u8> = pattern
                    .into_iter()
                    .cycle()
                    .take(cmd.length as usize)
                    .collect();
                self.write(dst_vram, cmd.dst, &data);
            }
            2 => {
                let data = self.read(src_vram, cmd.src, cmd.length);
                self.write(dst_vram, cmd.dst, &data);
            }
            3 if Self::is_refused(cmd) => {
                self.failed.get_or_insert((E_OVERLAP, self.index));
            }
            3 => {
                let row = |at, stride, y| at + u64::from(y) * u64::from(stride);
                let rows: Vec<_> = (0..cmd.height)
                    .map(|y| self.read(src_vram, row(cmd.src, cmd.src_stride, y), cmd.length))
                    .collect();
                for (y, data) in (0..cmd.height).zip(rows) {
                    self.write(dst_vram, row(cmd.dst, cmd.dst_stride, y), &data);
                }
            }
            4 => {
                let data = self.read(src_vram, cmd.src, cmd.length);
                self.write(false, cmd.dst, &::crc32c::crc32c(&data).to_le_bytes());
            }
            5 => {
                let (status, index) = self.failed.take().unwrap_or((0, NO_INDEX));
                let mut data = cmd.value.to_le_bytes().to_vec();
                data.extend(status.to_le_bytes());
                data.extend(index.to_le_bytes());
                self.write(false, cmd.dst, &data);
            }
            _ => {}
        }
        self.index += 1;
    }
}
