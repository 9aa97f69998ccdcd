// SPDX-License-Identifier: GPL-2.0
//! The modules that `mig-test`, `mig-guest`, the guest's program, and the fuzz targets share.

pub mod command;
pub mod exercise;
pub mod message;
pub mod modules;
pub mod picture;
pub mod random;
pub mod tsc;
pub mod vfio;
