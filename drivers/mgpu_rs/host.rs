// SPDX-License-Identifier: GPL-2.0

//! A crate of the parts of mgpu_rs that need no kernel; cargo builds and tests it on the host.
//!
//! - [`registers`]: the register file and the rings, behind the glue's lock.
//! - [`engine`]: one bounded step of work, outside of the lock.
//! - [`memory`]: the memory that the glue gives the engine to work on.
//! - [`state`]: the state that migrates, except VRAM.
//! - [`pages`]: the records by which VRAM migrates.
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
mod queue;
mod ring;
mod transfer;
