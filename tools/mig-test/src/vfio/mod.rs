// SPDX-License-Identifier: GPL-2.0
//! A user of VFIO's interface, one call at a time: the calls that QEMU makes, and those that it
//! would not make. Works with any device that is bound to VFIO, through its group or its own file.

pub mod account;
pub mod capability;
pub mod device;
pub mod dma;
mod dma_log;
pub mod iommufd;
pub mod irq;
pub mod migration;
pub mod plane;
pub mod userfault;
pub mod v1;

pub use mig_common::vfio::sys::Mapping;
