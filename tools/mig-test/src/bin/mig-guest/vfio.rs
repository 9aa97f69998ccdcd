// SPDX-License-Identifier: GPL-2.0
//! The ioctls of VFIO and its devices, shared with mig-test.
#![allow(dead_code)] // what mig-test alone uses of it

#[path = "../../vfio/device.rs"]
pub mod device;
#[path = "../../vfio/dma.rs"]
mod dma;
#[path = "../../vfio/iommufd.rs"]
mod iommufd;
#[path = "../../vfio/irq.rs"]
pub mod irq;
#[path = "../../vfio/packet.rs"]
mod packet;
#[path = "../../vfio/sys.rs"]
mod sys;

pub use packet::Packet;
pub use sys::{with_fixed, with_sized, with_value};

/// The ioctls, by their distance from VFIO_BASE in <linux/vfio.h>.
pub mod number {
    pub const SET_IOMMU: u32 = 2;
    pub const GROUP_SET_CONTAINER: u32 = 4;
    pub const GROUP_UNSET_CONTAINER: u32 = 5;
    pub const IOMMU_MAP_DMA: u32 = 13;
}
