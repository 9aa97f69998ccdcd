// SPDX-License-Identifier: GPL-2.0
//! Control of unmodified QEMUs: starting them, their consoles and monitors, migration.

pub mod channel;
pub mod console;
pub mod image;
mod initramfs;
pub mod interrupt;
pub mod migration;
pub mod process;
pub mod proxy;
pub mod qmp;
mod registers;
pub mod screen;
pub mod stderr;
pub mod traffic;
pub mod version;
pub mod vm;
