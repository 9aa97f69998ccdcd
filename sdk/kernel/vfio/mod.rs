// SPDX-License-Identifier: GPL-2.0

//! VFIO: the `vfio_device` of an mdev, and the callbacks, files and ioctls through which user space
//! uses it.
//!
//! | in | is |
//! |---|---|
//! | `container` | the `vfio_device` and its data, from `create` to `remove` |
//! | `device_ops` | `struct vfio_device_ops`: open, close, unmap, request |
//! | `access`, `ioctl`, `uapi` | read, write and mmap; ioctls and their structures |
//! | `migration_v1`, `migration_v2` | the two protocols, each a front end of the same session |
//! | `dirty_log` | `struct vfio_log_ops` |
//! | `debugfs` | what debugfs shows of a device |
//!
//! This layer knows all below it. `mdev` uses it, through [`Device`].

mod access;
mod container;
mod debugfs;
mod device_ops;
mod dirty_log;
mod ioctl;
mod migration_v1;
mod migration_v2;
mod uapi;

pub(crate) use container::Device;
