// SPDX-License-Identifier: GPL-2.0
//! The guest of every migration: what it says, and the initramfs it boots from. The program itself
//! is `mig-guest`, which shares `message` with this side of the console.

pub mod command;
pub mod crc32c;
pub mod initramfs;
pub mod message;
