// SPDX-License-Identifier: GPL-2.0
//! Guest memory of a VFIO device: mappings, and which pages the type1 container calls dirty.

use std::sync::Arc;

use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
};

use super::device::{number, Group, Space};
use super::packet::Packet;
use super::sys::{self, Mapping};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// What a device may do with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// A part of memory under the address at which a device finds it.
#[derive(Clone, Copy)]
pub struct Dma<'a> {
    /// The device's address.
    pub iova: u64,
    /// The memory.
    pub memory: &'a Arc<Mapping>,
    /// Where in the memory the part begins.
    pub offset: usize,
    /// Its length.
    pub len: usize,
    /// What the device may do.
    pub access: Access,
}

impl Dma<'_> {
    /// Where this process has the part; EINVAL if it is not inside of its memory.
    pub(super) fn address(&self) -> Result<u64> {
        let end = self.offset.checked_add(self.len).ok_or(Errno::INVAL)?;
        if end > self.memory.len() {
            return Err(Errno::INVAL);
        }
        Ok(self.memory.address() + self.offset as u64)
    }
}

impl Space {
    /// Lets the device find memory. A part that is not inside of its memory is EINVAL.
    pub fn map_dma(&self, dma: Dma) -> Result<()> {
        match self {
            Space::Group(group) => group.map_dma(dma),
            Space::Ioas(ioas) => ioas.map(dma),
        }
    }

    /// Takes memory away; returns how many bytes were mapped.
    pub fn unmap_dma(&self, iova: u64, len: usize) -> Result<u64> {
        match self {
            Space::Group(group) => group.unmap_dma(iova, len),
            Space::Ioas(ioas) => ioas.unmap(iova, len),
        }
    }
}

impl Group {
    /// VFIO_IOMMU_MAP_DMA. A part that is not inside of its memory is EINVAL.
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

    /// VFIO_IOMMU_UNMAP_DMA; returns how many bytes were mapped.
    pub fn unmap_dma(&self, iova: u64, len: usize) -> Result<u64> {
        let mut packet = Packet::sized().u32(0).u64(iova).u64(len as u64).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_UNMAP_DMA, &mut packet.0)?;
        Ok(packet.read_u64(16))
    }

    /// Begins or ends the container's account of dirty pages.
    pub fn track_dirty(&self, on: bool) -> Result<()> {
        let flags = match on {
            true => VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
            false => VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        };
        let mut packet = Packet::sized().u32(flags).argsz(None);
        sys::with_sized(&self.container, number::IOMMU_DIRTY_PAGES, &mut packet.0).map(drop)
    }

    /// The pages of a range that are dirty, counted from its first. What is not pinned is clean
    /// afterwards.
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

    /// VFIO_IOMMU_UNMAP_DMA of a mapping; returns the pages that were dirty, counted from its
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

/// Where the container writes which pages of a range are dirty.
struct Bitmap {
    pages: usize,
    memory: Mapping,
}

impl Bitmap {
    /// For a range of `len` bytes.
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

/// The numbers of the bits that are set among the first `count`.
pub(super) fn set_bits(bytes: &[u8], count: usize) -> Vec<usize> {
    let is_set = |bit: &usize| bytes[bit / 8] & 1 << (bit % 8) != 0;
    (0..count).filter(is_set).collect()
}
