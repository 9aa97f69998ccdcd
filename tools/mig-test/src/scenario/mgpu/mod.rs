// SPDX-License-Identifier: GPL-2.0
//! The toy GPU of mgpu_rs: its commands, its migration while it works, and its dirty pages of guest
//! memory, with this program in the place of the guest; and in a guest that migrates.

mod account;
pub mod card;
pub mod commands;
pub mod dirty;
mod faults;
pub mod guest;
pub mod killed;
pub mod late;
pub mod log;
pub mod migrate;
mod model;
pub mod moments;
pub mod peer;
pub mod random;
pub mod rings;
pub mod scope;
mod stream;
mod table;
pub mod unmap;
mod unmap_calls;
pub mod unmap_dirty;
pub mod viommu;

pub use table::ALL;
