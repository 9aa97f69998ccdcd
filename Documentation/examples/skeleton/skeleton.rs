// SPDX-License-Identifier: GPL-2.0

//! The kernel module: it offers the device of `device.rs` as a type of mdev, `skeleton/skeleton-1`.
//!
//! This is all that touches the kernel. What the device does is in `device.rs`, which also compiles
//! on the host, where its tests run.

#![forbid(unsafe_code)]

mod device;

mdev_sdk::module_mdev_model! {
    model: device::Skeleton,
    devices: 16,
    name: "skeleton",
    authors: ["The authors"],
    description: "A device that adds up numbers",
    license: "GPL",
}
