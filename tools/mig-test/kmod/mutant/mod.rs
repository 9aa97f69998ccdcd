// SPDX-License-Identifier: GPL-2.0

//! The parts of `mutant_rs` that need no kernel; cargo compiles them too, to test them.

pub mod defect;
pub mod device;
pub mod register;
pub mod state;
