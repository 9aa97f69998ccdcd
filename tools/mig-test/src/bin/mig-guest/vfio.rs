// SPDX-License-Identifier: GPL-2.0
//! A device of VFIO, as mig-test opens one. Not in the library: mig-test adds methods of its own to
//! `Device`, which only the crate that defines it can.
#![allow(dead_code)] // what mig-test alone uses of it

#[path = "../../vfio/device.rs"]
pub mod device;
#[path = "../../vfio/dma.rs"]
mod dma;
#[path = "../../vfio/iommufd.rs"]
mod iommufd;
#[path = "../../vfio/irq.rs"]
pub mod irq;
