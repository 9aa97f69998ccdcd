// SPDX-License-Identifier: GPL-2.0

//! What a migratable VFIO mediated device does, decided without a kernel.
//!
//! Everything in this crate is pure: it holds state, checks input and says what is to be done, and
//! leaves the doing to its caller. `mdev_sdk` (the kernel module) is that caller in production,
//! `cargo test` is the other one. The crate therefore uses `core` alone, allocates nothing and
//! forbids `unsafe`.
//!
//! - [`state`]: the migration states and the single arcs between them.
//! - [`stream`]: records, match data and the closing checksum of a migration stream.
//! - [`config`]: PCI configuration space.
//! - [`irq`]: INTx and MSI as VFIO user space sees them.
//! - [`region`]: the offsets of a VFIO device file.
//! - [`v1`]: the registers of protocol v1's migration region.
//! - [`dirty_log`]: which pages of guest memory the device has written.
//! - [`page_set`]: which pages of its own memory have been.
//! - [`paging`]: how ranges of bytes lie in pages.

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

pub mod config;
pub mod dirty_log;
pub mod irq;
pub mod page_set;
pub mod paging;
pub mod region;
pub mod state;
pub mod stream;
pub mod v1;
