// SPDX-License-Identifier: GPL-2.0

//! An educational device, after QEMU's `edu`: it computes factorials and copies between guest
//! memory and a buffer of its own, both in the background, and migrates in the middle of either.

#![forbid(unsafe_code)]

mod device;

mdev_sdk::module_mdev_model! {
    model: device::Edu,
    devices: 16,
    name: "edu",
    authors: ["The mdev SDK authors"],
    description: "Educational device that migrates, after QEMU's edu",
    license: "GPL",
}
