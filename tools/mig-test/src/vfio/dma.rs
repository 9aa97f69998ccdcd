// SPDX-License-Identifier: GPL-2.0
//! Guest memory of a VFIO device, as the type1 container knows it: mappings, and which pages are dirty.

use std::sync::{Arc, PoisonError};

use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_START, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
};

use super::device::{number, Group};
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

impl Group {
    /// VFIO_IOMMU_MAP_DMA. A part that is not inside of its memory is EINVAL.
    pub fn map_dma(&self, dma: Dma) -> Result<()> {
        let end = dma.offset.checked_add(dma.len).ok_or(Errno::INVAL)?;
        if end > dma.memory.len() {
            return Err(Errno::INVAL);
        }
        {
            let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
            if !mapped.iter().any(|known| Arc::ptr_eq(known, dma.memory)) {
                mapped.push(dma.memory.clone());
            }
        }
        let flags = match dma.access {
            Access::Read => VFIO_DMA_MAP_FLAG_READ,
            Access::ReadWrite => VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        };
        let mut packet = Packet::sized()
            .u32(flags)
            .u64(dma.memory.address() + dma.offset as u64)
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
        let pages = len / PAGE;
        let bitmap = Mapping::anonymous(pages.div_ceil(64) * 8)?;
        let mut packet = Packet::sized()
            .u32(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP)
            .u64(iova)
            .u64(len as u64)
            .u64(PAGE as u64)
            .u64(bitmap.len() as u64)
            .u64(bitmap.address())
            .argsz(None);
        sys::with_sized(&self.container, number::IOMMU_DIRTY_PAGES, &mut packet.0)?;
        let mut bytes = vec![0; bitmap.len()];
        bitmap.read(0, &mut bytes);
        let is_set = |page: &usize| bytes[page / 8] & 1 << (page % 8) != 0;
        Ok((0..pages).filter(is_set).collect())
    }
}
