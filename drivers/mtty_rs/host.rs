// SPDX-License-Identifier: GPL-2.0

//! The parts of mtty_rs that need no kernel, as a crate that cargo builds and tests on the host.
#![no_std]
#![forbid(unsafe_code)]

pub mod mainline;
pub mod state;
pub mod uart;
