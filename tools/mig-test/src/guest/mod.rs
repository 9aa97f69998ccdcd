// SPDX-License-Identifier: GPL-2.0
//! The guest of every migration: its initramfs, and what its program, `mig-guest`, shares with
//! `mig-test`.

pub mod command;
pub mod crc32c;
pub mod initramfs;
pub mod message;
pub mod modules;
pub mod picture;
