// SPDX-License-Identifier: GPL-2.0
//! An address space of iommufd (<linux/iommufd.h>), for devices opened by their own file.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{ensure, Context, Result};
use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::VFIO_BASE;

use super::device::Mapped;
use super::dma::{Access, Dma};

/// The ioctls of /dev/iommu, IOMMUFD_CMD_* of <linux/iommufd.h>. They have VFIO's type, so their
/// numbers count from VFIO_BASE as well. They are not from the crate iommufd-bindings, because its
/// license, Apache-2.0 alone, is incompatible with GPL-2.0.
mod command {
    use super::VFIO_BASE;

    /// IOMMUFD_CMD_BASE.
    const BASE: u32 = 0x80 - VFIO_BASE;
    pub const IOAS_ALLOC: u32 = BASE + 1;
    pub const IOAS_MAP: u32 = BASE + 5;
    pub const IOAS_UNMAP: u32 = BASE + 6;
}

/// IOMMU_IOAS_MAP_FIXED_IOVA.
const FIXED_IOVA: u32 = 1;
/// IOMMU_IOAS_MAP_WRITEABLE.
const WRITEABLE: u32 = 2;
/// IOMMU_IOAS_MAP_READABLE.
const READABLE: u32 = 4;

/// Returns whether the kernel has iommufd and files for VFIO devices.
pub fn is_there() -> bool {
    Path::new("/dev/iommu").exists()
}

/// An address space (IOAS) in a context of its own.
pub struct Ioas {
    iommu: File,
    id: u32,
    mapped: Mapped,
}

impl Ioas {
    /// Creates an empty address space.
    pub fn new() -> Result<Ioas> {
        let iommu = File::options().read(true).write(true).open("/dev/iommu");
        let iommu = iommu.context("open /dev/iommu")?;
        let mut packet = Packet::sized().u32(0).u32(0).argsz(None);
        sys::with_sized(&iommu, command::IOAS_ALLOC, &mut packet.0)?;
        Ok(Ioas {
            id: packet.read_u32(8),
            iommu,
            mapped: Mapped::default(),
        })
    }

    /// Opens the device in a sysfs folder, and attaches it.
    pub(super) fn open_device(&self, device: &Path) -> Result<OwnedFd> {
        let folder = device.join("vfio-dev");
        let mut names = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let name = names
            .next()
            .context("the device has no file of its own")??;
        let node = Path::new("/dev/vfio/devices").join(name.file_name());
        let file = File::options().read(true).write(true).open(&node);
        let file = file.with_context(|| format!("open {}", node.display()))?;
        let iommu = u32::try_from(self.iommu.as_raw_fd())?;
        let mut bind = Packet::sized().u32(0).u32(iommu).u32(0).argsz(None);
        sys::with_sized(&file, number::DEVICE_BIND_IOMMUFD, &mut bind.0)?;
        let mut attach = Packet::sized().u32(0).u32(self.id).argsz(None);
        sys::with_sized(&file, number::DEVICE_ATTACH_IOMMUFD_PT, &mut attach.0)?;
        ensure!(attach.read_u32(8) == self.id, "attached to another space");
        Ok(file.into())
    }

    /// Calls IOMMU_IOAS_MAP for a given IOVA.
    pub fn map(&self, dma: Dma) -> Result<(), Errno> {
        let address = dma.address()?;
        self.mapped.keep(dma.memory);
        let flags = match dma.access {
            Access::Read => FIXED_IOVA | READABLE,
            Access::ReadWrite => FIXED_IOVA | READABLE | WRITEABLE,
        };
        let mut packet = Packet::sized()
            .u32(flags)
            .u32(self.id)
            .u32(0)
            .u64(address)
            .u64(dma.len as u64)
            .u64(dma.iova)
            .argsz(None);
        sys::with_sized(&self.iommu, command::IOAS_MAP, &mut packet.0).map(drop)
    }

    /// Calls IOMMU_IOAS_UNMAP; returns the number of bytes that were mapped.
    pub fn unmap(&self, iova: u64, len: usize) -> Result<u64, Errno> {
        let packet = Packet::sized().u32(self.id).u64(iova).u64(len as u64);
        let mut packet = packet.argsz(None);
        sys::with_sized(&self.iommu, command::IOAS_UNMAP, &mut packet.0)?;
        Ok(packet.read_u64(16))
    }
}
