// SPDX-License-Identifier: GPL-2.0
//! Unmodified QEMU from the outside: starting it, talking to it, migrating between two of it.

pub mod channel;
pub mod console;
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
