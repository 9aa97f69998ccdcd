// SPDX-License-Identifier: GPL-2.0

//! A crate of the parts of mtty_rs that need no kernel; cargo builds and tests it on the host.
#![no_std]
#![forbid(unsafe_code)]

pub mod mainline;
pub mod state;
pub mod uart;
