// SPDX-License-Identifier: GPL-2.0

//! An SDK for VFIO mediated devices that migrate.
//!
//! A driver implements three traits and names the first in [`module_mdev_driver!`]:
//!
//! | trait | `Self` | says |
//! |---|---|---|
//! | [`Driver`] | an mdev, from `create` to `remove` | what there is to create, and what it looks like on its bus |
//! | [`Operations`] | the device while it is open | what a guest's accesses do |
//! | [`Migrate`] | the same | how its state leaves and arrives |
//!
//! Everything between that and user space is here: mdev's sysfs, VFIO's files and ioctls, PCI
//! configuration space, interrupts, the migration state machine and the stream. A driver needs no
//! `unsafe`. What can be decided without a kernel is in the crate [`mdev_model`].

#![warn(missing_docs)]
// Kbuild passes this to rustc as an option, which rustdoc ignores when it collects examples.
#![cfg_attr(doctest, no_std)]

// The rooms, from the ground up. Each may use those above it in this list and no other, which a
// check of `mig-test test --tree` sees to by reading the list.

mod base;

mod irq;

mod memory;

mod driver;

mod migration;

mod vfio;

mod mdev;

pub use base::{compat::parameter, wait::WaitQueue};
pub use driver::{
    crc32c, Codec, Context, Driver, Migrate, NewDevice, Operations, Pending, Phase, Plane,
    Progress, RecordWriter, Task, Type, Worker,
};
pub use mdev::{DriverRegistration, ParentRegistration, VirtualParent};
pub use mdev_model as model;
pub use memory::{Access, DeviceMemory, Dma, GuestMemory, Pinned, Read, Write};

/// The prefix of this module's messages.
const __LOG_PREFIX: &[u8] = c"mdev_sdk".to_bytes_with_nul();
