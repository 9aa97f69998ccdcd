// SPDX-License-Identifier: GPL-2.0

//! Registration: mdev drivers, parents and types, and a module made of these.
//!
//! This is the top layer: it creates and removes the `vfio_device` of each mdev, and no other layer
//! knows it. A driver uses [`module_mdev_driver!`](crate::module_mdev_driver), or the registrations
//! themselves.

mod attributes;
mod module;
mod own_attributes;
mod registration;
mod virtual_parent;

use crate::base::raw;
use kernel::device;

pub use registration::{DriverRegistration, ParentRegistration};
pub use virtual_parent::VirtualParent;

/// Returns the `struct device` of `device`.
fn raw_device(device: &device::Device) -> *mut raw::device {
    core::ptr::from_ref(device).cast_mut().cast()
}
