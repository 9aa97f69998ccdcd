// SPDX-License-Identifier: GPL-2.0

//! The parts of mgpu_rs that need no kernel, as a crate that cargo builds and tests on the host.
//!
//! - [`registers`]: the register file and the ring, behind the glue's lock.
//! - [`engine`]: one bounded step of work, outside of it.
//! - [`memory`]: what the glue gives the engine to work on.
//! - [`state`]: what migrates, but for VRAM.
//! - [`pages`]: how VRAM migrates.
//! - [`uapi`]: the numbers of `uapi/mgpu.h`.
#![no_std]
#![forbid(unsafe_code)]

pub mod display;
pub mod engine;
pub mod error;
pub mod memory;
pub mod pages;
pub mod registers;
pub mod state;
pub mod uapi;

mod command;
mod fields;
mod job;
mod ring;
mod transfer;
