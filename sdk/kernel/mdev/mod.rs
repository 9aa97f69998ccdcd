// SPDX-License-Identifier: GPL-2.0

//! Registration: mdev's drivers, parents and types, and the module that is all of these.
//!
//! The top floor: it makes and ends the `vfio_device` of each mdev, and nothing of the SDK knows
//! it. A driver comes in by [`module_mdev_driver!`](crate::module_mdev_driver), or by the
//! registrations themselves.

mod module;
mod registration;
mod virtual_parent;

pub use registration::{DriverRegistration, ParentRegistration};
pub use virtual_parent::VirtualParent;
