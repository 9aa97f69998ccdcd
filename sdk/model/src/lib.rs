// SPDX-License-Identifier: GPL-2.0

//! The logic of a migratable VFIO mediated device, without a kernel.
//!
//! This crate is pure: it holds state, checks input, and returns what is to be done, which its
//! caller does. The caller is `mdev_sdk` (the kernel module) in production and `cargo test` in
//! tests. So the crate uses `core` alone, apart from `testing`, allocates nothing and forbids
//! `unsafe`.
//!
//! - [`state`]: the migration states and the single arcs between them.
//! - [`stream`]: records, match data and the closing checksum of a migration stream.
//! - [`record!`] and [`mod@record`]: records of fixed size, which a struct defines.
//! - [`device`], [`registers!`] and [`mod@registers`]: a whole device as a model.
//! - `testing`: a machine for host tests of such a device, not part of the kernel module.
//! - [`config`]: PCI configuration space.
//! - [`irq`]: INTx and MSI as VFIO user space sees them.
//! - [`region`]: the offsets of a VFIO device file.
//! - [`v1`]: the registers of protocol v1's migration region.
//! - [`dirty_log`]: the pages of guest memory that the device has written.
//! - [`page_set`]: sets of pages of the device's own memory.
//! - [`paging`]: the pages of a range of bytes.

#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

// Kbuild sets CONFIG_RUST, for modules and for what is built in.
#[cfg(not(CONFIG_RUST))]
extern crate std;

pub mod config;
pub mod device;
pub mod dirty_log;
pub mod irq;
pub mod page_set;
pub mod paging;
pub mod prelude;
pub mod record;
pub mod region;
pub mod registers;
pub mod state;
pub mod stream;
#[cfg(not(CONFIG_RUST))]
pub mod testing;
pub mod v1;
