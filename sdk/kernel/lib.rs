// SPDX-License-Identifier: GPL-2.0

//! An SDK for VFIO mediated devices that migrate.
//!
//! A driver implements [`Device`] (what a guest sees) and [`Migrate`] (how the state leaves and
//! arrives) for one type, and names it in [`module_mdev_driver!`]. Everything between that and user
//! space is here: mdev's sysfs, VFIO's files and ioctls, PCI configuration space, interrupts, the
//! migration state machine and the stream. A driver needs no `unsafe`.
//!
//! What can be decided without a kernel is in the crate [`mdev_model`].

#![warn(missing_docs)]

mod compat;
mod device;
mod device_memory;
mod dirty_log;
mod eventfd;
mod file;
mod guest_memory;
mod info;
mod irq;
mod load;
mod lock;
mod mapping;
mod mdev;
mod migrate;
mod module;
mod open;
mod pages;
mod param;
mod parent;
mod pins;
mod raw;
mod rw;
mod save;
mod session;
mod uapi;
mod v1;
mod window;
mod worker;

pub use compat::parameter;
pub use device::{Device, Plane};
pub use device_memory::DeviceMemory;
pub use guest_memory::{Access, Dma, GuestMemory, Pinned, Read, Write};
pub use mdev::{DriverRegistration, NewDevice, ParentRegistration, Type};
pub use mdev_model as model;
pub use migrate::{crc32c, Codec, Migrate, Pending, Phase, Progress, RecordWriter};
pub use open::OpenDevice;
pub use parent::VirtualParent;
pub use worker::{Task, Worker};

/// The prefix of this module's messages.
const __LOG_PREFIX: &[u8] = c"mdev_sdk".to_bytes_with_nul();
