// SPDX-License-Identifier: GPL-2.0
//! The picture: drawn in guest memory, copied to the frame buffer by the GPU.

use std::io;

use mgpu_model::uapi::{display, flag, opcode, reg};
use mig_common::command::Command;
use mig_common::picture::{pixel, HEIGHT, WIDTH};

use super::pages::PICTURE_AT;
use super::work::Work;

/// Bytes of a pixel.
const PIXEL: usize = 4;
/// Bytes from one row to the next in guest memory.
const SOURCE_STRIDE: usize = WIDTH * PIXEL;
/// Bytes from one row to the next in the frame buffer, which is more.
const STRIDE: usize = SOURCE_STRIDE + 256;
/// Bytes of the picture in guest memory.
pub const SOURCE_LEN: usize = SOURCE_STRIDE * HEIGHT;
/// Bytes of the frame buffer, at the beginning of VRAM.
pub const LEN: usize = STRIDE * HEIGHT;
/// Width and height of what is brought at once.
const TILE: (usize, usize) = (80, 60);

/// Draws the picture with a number; returns once it is to be seen.
pub fn draw(work: &mut Work, number: u32) -> io::Result<()> {
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let at = PICTURE_AT + y * SOURCE_STRIDE + x * PIXEL;
            work.card.guest.memory.store(at, pixel(number, x, y));
        }
    }
    let mut tiles = Vec::new();
    for y in (0..HEIGHT).step_by(TILE.1) {
        for x in (0..WIDTH).step_by(TILE.0) {
            let source = PICTURE_AT + y * SOURCE_STRIDE + x * PIXEL;
            tiles.push(Command {
                opcode: opcode::BLIT,
                flags: flag::DST_VRAM,
                dst: (y * STRIDE + x * PIXEL) as u64,
                src: work.card.guest.address(source),
                length: (TILE.0 * PIXEL) as u32,
                height: TILE.1 as u32,
                dst_stride: STRIDE as u32,
                src_stride: SOURCE_STRIDE as u32,
                ..Command::default()
            });
        }
    }
    work.execute(&tiles)?;
    let geometry = [
        (reg::DISPLAY_WIDTH, WIDTH),
        (reg::DISPLAY_HEIGHT, HEIGHT),
        (reg::DISPLAY_STRIDE, STRIDE),
    ];
    for (register, value) in geometry {
        work.card.set(register, value as u32);
    }
    work.card.set(reg::DISPLAY_CONTROL, display::ENABLE);
    work.card.ensure_well()
}
