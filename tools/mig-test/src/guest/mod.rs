// SPDX-License-Identifier: GPL-2.0
//! The guest of every migration: the initramfs it boots from, and what its program, `mig-guest`,
//! has in common with this side.

pub mod command;
pub mod crc32c;
pub mod initramfs;
pub mod message;
pub mod modules;
pub mod picture;
