// SPDX-License-Identifier: GPL-2.0
//! The modules that `mig-test` and `mig-guest`, the guest's program, share.

pub mod command;
pub mod message;
pub mod modules;
pub mod picture;
pub mod random;
pub mod tsc;
pub mod vfio;
