// SPDX-License-Identifier: GPL-2.0
//! Guest memory of a VFIO device: mappings, and the dirty pages of the type1 container.

use std::sync::Arc;

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys::{self, Mapping};
use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
};

use super::device::{Group, Space};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The access of a device to a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// A part of memory, mapped at an IOVA.
#[derive(Clone, Copy)]
pub struct Dma<'a> {
    /// The IOVA.
    pub iova: u64,
    /// The memory.
    pub memory: &'a Arc<Mapping>,
    /// The offset of the part in the memory.
    pub offset: usize,
    /// Its length.
    pub len: usize,
    /// The device's access.
    pub access: Access,
}

impl Dma<'_> {
    /// Returns the part's address in this process; EINVAL if the part is not inside the memory.
    pub(super) fn address(&self) -> Result<u64> {
        let end = self.offset.checked_add(self.len).ok_or(Errno::INVAL)?;
        if end > self.memory.len() {
            return Err(Errno::INVAL);
        }
        Ok(self.memory.address() + self.offset as u64)
    }
}

impl Space {
    /// Maps memory for the device; EINVAL if the part is not inside the memory.
    pub fn map_dma(&self, dma: Dma) -> Result<()> {
        match self {
            Space::Group(group) => group.map_dma(dma),
            Space::Ioas(ioas) => ioas.map(dma),
        }
    }

    /// Unmaps memory from the device; returns the number of bytes that were mapped.
    pub fn unmap_dma(&self, iova: u64, len: usize) -> Result<u64> {
        match self {
            Space::Group(group) => group.unmap_dma(iova, len),
            Space::Ioas(ioas) => ioas.unmap(iova, len),
        }
    }
}

impl Group {
    /// Calls VFIO_IOMMU_MAP_DMA; EINVAL if the part is not inside the memory.
    pub fn map_dma(&self, dma: Dma) -> Result<()> {
        let address = dma.address()?;
        self.mapped.keep(dma.memory);
        let flags = match dma.access {
            Access::Read => VFIO_DMA_MAP_FLAG_READ,
            Access::ReadWrite => VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        };
        let mut packet = Packet::sized()
            .u32(flags)
            .u64(address)
            .u64(dma.iova)
            .u64(dma.len as u64)
            .argsz(None);
        sys::with_sized(&self.container, number::IOMMU_MAP_DMA, &mut packet.0).map(drop)
    }

    /// Calls VFIO_IOMMU_UNMAP_DMA; returns the number of bytes that were mapped.
    pub fn unmap_dma(&self, iova: u64, len: usize) -> Result<u64> {
        let mut packet = Packet::sized().u32(0).u64(iova).u64(len as u64).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_UNMAP_DMA, &mut packet.0)?;
        Ok(packet.read_u64(16))
    }

    /// Starts or stops the container's dirty tracking.
    pub fn track_dirty(&self, on: bool) -> Result<()> {
        let flags = match on {
            true => VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
            false => VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        };
        let mut packet = Packet::sized().u32(flags).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_DIRTY_PAGES, &mut packet.0).map(drop)
    }

    /// Returns the dirty pages of a range, counted from its first. Those that are not pinned become
    /// clean.
    pub fn take_dirty(&self, iova: u64, len: usize) -> Result<Vec<usize>> {
        let bitmap = Bitmap::new(len)?;
        let packet = Packet::sized()
            .u32(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP)
            .u64(iova)
            .u64(len as u64);
        let mut packet = bitmap.append(packet).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_DIRTY_PAGES, &mut packet.0)?;
        Ok(bitmap.pages())
    }

    /// Calls VFIO_IOMMU_UNMAP_DMA on a mapping; returns the pages that were dirty, counted from its
    /// first.
    pub fn unmap_dma_dirty(&self, iova: u64, len: usize) -> Result<Vec<usize>> {
        let bitmap = Bitmap::new(len)?;
        let packet = Packet::sized()
            .u32(VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)
            .u64(iova)
            .u64(len as u64);
        let mut packet = bitmap.append(packet).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_UNMAP_DMA, &mut packet.0)?;
        Ok(bitmap.pages())
    }
}

/// The bitmap of dirty pages of a range, which the container writes.
struct Bitmap {
    pages: usize,
    memory: Mapping,
}

impl Bitmap {
    /// Creates a bitmap for a range of `len` bytes.
    fn new(len: usize) -> Result<Bitmap> {
        let pages = len / PAGE;
        Ok(Bitmap {
            pages,
            memory: Mapping::anonymous(pages.div_ceil(64) * 8)?,
        })
    }

    /// `struct vfio_bitmap`.
    fn append(&self, packet: Packet) -> Packet {
        packet
            .u64(PAGE as u64)
            .u64(self.memory.len() as u64)
            .u64(self.memory.address())
    }

    fn pages(&self) -> Vec<usize> {
        let mut bytes = vec![0; self.memory.len()];
        self.memory.read(0, &mut bytes);
        set_bits(&bytes, self.pages)
    }
}

/// Returns the numbers of the set bits among the first `count`.
pub(super) fn set_bits(bytes: &[u8], count: usize) -> Vec<usize> {
    let is_set = |bit: &usize| bytes[bit / 8] & 1 << (bit % 8) != 0;
    (0..count).filter(is_set).collect()
}
