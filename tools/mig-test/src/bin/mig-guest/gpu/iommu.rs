// SPDX-License-Identifier: GPL-2.0
//! The guest's own IOMMU: the card is in a container of the guest's VFIO, which maps memory for it.
//!
//! Every page is mapped at its own physical address, and all of them are unmapped at once, with the
//! container. Only in this case does QEMU 7.2 record the right dirty pages (Documentation/qemu.md).

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use mig_common::modules;
use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys::{with_fixed, with_sized, with_value};
use vfio_bindings::bindings::vfio::{
    VFIO_TYPE1v2_IOMMU, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE,
};

use super::dma::Dma;
use crate::memory::HUGE_PAGE;
use crate::pci;

/// A card's group, and the container that it is in.
pub struct Iommu {
    group: File,
    container: File,
}

impl Iommu {
    /// Binds a device to VFIO, and maps memory for it.
    pub fn start(device: &Path, memory: &Dma) -> io::Result<Iommu> {
        pci::bind(device, "vfio-pci", modules::VFIO)?;
        let group = fs::read_link(device.join("iommu_group"))?;
        let node = Path::new("/dev/vfio").join(group.file_name().unwrap_or_default());
        let iommu = Iommu {
            group: open(&node)?,
            container: new_container()?,
        };
        iommu.join(memory)?;
        Ok(iommu)
    }

    /// Takes all memory away from the device, and maps it again.
    pub fn renew(&mut self, memory: &Dma) -> io::Result<()> {
        with_value(&self.group, number::GROUP_UNSET_CONTAINER, 0)?;
        self.container = new_container()?;
        self.join(memory)
    }

    fn join(&self, memory: &Dma) -> io::Result<()> {
        let mut container = self.container.as_raw_fd().to_ne_bytes();
        with_fixed(&self.group, number::GROUP_SET_CONTAINER, &mut container)?;
        with_value(&self.container, number::SET_IOMMU, VFIO_TYPE1v2_IOMMU)?;
        for offset in (0..memory.memory.len()).step_by(HUGE_PAGE) {
            let mut map = Packet::sized()
                .u32(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
                .u64((memory.memory.address() + offset) as u64)
                .u64(memory.address(offset))
                .u64(HUGE_PAGE as u64)
                .argsz(None);
            with_sized(&self.container, number::IOMMU_MAP_DMA, &mut map.0)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn new_container() -> io::Result<File> {
    open(Path::new("/dev/vfio/vfio"))
}
