// SPDX-License-Identifier: GPL-2.0

//! An SDK for VFIO mediated devices that migrate.
//!
//! A driver implements three traits and passes the first to [`module_mdev_driver!`]:
//!
//! | trait | `Self` | defines |
//! |---|---|---|
//! | [`Driver`] | an mdev, from `create` to `remove` | the mdev types, and an mdev's PCI identity |
//! | [`Operations`] | the device while it is open | what the guest's accesses do |
//! | [`Migrate`] | the device while it is open | how its state is saved and loaded |
//!
//! The SDK is everything between that and user space: mdev's sysfs, VFIO's files and ioctls, PCI
//! configuration space, interrupts, the migration state machine and the stream. A driver needs no
//! `unsafe`. What can be decided without a kernel is in the crate [`mdev_model`].
//!
//! C headers: [`include/linux/mdev.h`](srctree/include/linux/mdev.h),
//! [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/vfio-mediated-device.html>

#![warn(missing_docs)]
// Kbuild passes these to rustc as options, which rustdoc ignores when it collects examples. A
// branch that can be patched out needs the feature before Rust 1.87, which has it without.
#![cfg_attr(doctest, no_std)]
#![cfg_attr(doctest, allow(stable_features))]
#![cfg_attr(doctest, feature(asm_goto))]

// The layers, from the ground up. A layer may use those above it in this list and no others;
// `mig-test test --tree` reads the list and checks it.

mod base;

mod irq;

mod memory;

mod driver;

mod migration;

mod vfio;

mod mdev;

mod pci;

pub use base::compat::parameter;
pub use driver::{
    crc32c, Attribute, Budget, Codec, Context, Driver, Engine, FixedState, Migrate, ModelDriver,
    Modelled, NewDevice, OpenModel, Operations, Parts, Pending, Phase, Plane, Progress,
    RecordWriter, Share, Step, Task, Type,
};
pub use mdev::{DriverRegistration, ParentRegistration, VirtualParent};
pub use mdev_model as model;
pub use memory::{
    Access, DeviceMemory, Dma, GuestArray, GuestMemory, IoMemory, Pinned, Read, StagedMemory, Write,
};
pub use pci::{DmaBuffer, ParentBar, PciDriver, PciFunction, PciId, PciRegistration};

/// The mistakes in the guide to compiler messages, each of which must not compile.
#[cfg(doctest)]
#[doc = include_str!("../../Documentation/compiler-messages.md")]
mod compiler_messages {}

/// The prefix of this module's messages.
const __LOG_PREFIX: &[u8] = c"mdev_sdk".to_bytes_with_nul();
