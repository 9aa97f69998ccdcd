// SPDX-License-Identifier: GPL-2.0
//! A VFIO user of our own: what QEMU would not do with a device, and what it does, one call at a
//! time. Works with any device that is bound to VFIO, through its group or a file of its own.

pub mod account;
mod capability;
pub mod device;
pub mod dma;
mod dma_log;
pub mod iommufd;
pub mod irq;
pub mod migration;
mod packet;
pub mod plane;
mod sys;
pub mod userfault;
pub mod v1;

pub use sys::Mapping;
