// SPDX-License-Identifier: GPL-2.0
//! The capabilities of a region: the chain after `struct vfio_region_info`.

use std::iter;
use std::ops::Range;

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_CAP_TYPE, VFIO_REGION_INFO_FLAG_CAPS,
    VFIO_REGION_INFO_FLAG_MMAP,
};

use super::device::Device;
use super::Mapping;

/// Bytes of `struct vfio_region_info`.
const INFO: usize = 32;
/// Bytes of `struct vfio_info_cap_header`.
const HEADER: usize = 8;

/// A capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Type and subtype of a region after those of PCI.
    Type(u32, u32),
    /// The mappable parts.
    SparseMmap(Vec<Range<u64>>),
    /// Any other one, by its number.
    Other(u16),
}

impl Device {
    /// Returns what can be mapped of a region: the areas of its capability, or all of it if it has
    /// none.
    pub fn mappable(&self, index: u32) -> Result<Vec<Range<u64>>> {
        let region = self.region(index, None)?;
        if region.flags & VFIO_REGION_INFO_FLAG_MMAP == 0 {
            return Ok(Vec::new());
        }
        let areas = self.capabilities(index)?.into_iter();
        let mut areas = areas.filter_map(|one| match one {
            Capability::SparseMmap(areas) => Some(areas),
            _ => None,
        });
        let all = || iter::once(0..region.size).collect();
        Ok(areas.next().unwrap_or_else(all))
    }

    /// Maps all that can be mapped of a region; returns the offset of each mapping in the region.
    pub fn map_all(&self, index: u32) -> Result<Vec<(u64, Mapping)>> {
        let begin = self.region(index, None)?.offset;
        let areas = self.mappable(index)?.into_iter();
        let mapped = areas.map(|bytes| {
            let size = (bytes.end - bytes.start) as usize;
            let mapping = self.map(begin + bytes.start, size)?;
            // Whoever reads all of it would wait longer for the faults than for the bytes. The
            // kernel refuses that for I/O memory, as of vfio-pci, which faults as it is read.
            let _ = mapping.populate();
            Ok((bytes.start, mapping))
        });
        mapped.collect()
    }

    /// Returns the capabilities of a region, queried as by QEMU: once for the length, once for all
    /// of them. A chain that does not end is PROTO.
    pub fn capabilities(&self, index: u32) -> Result<Vec<Capability>> {
        let region = self.region(index, None)?;
        if region.flags & VFIO_REGION_INFO_FLAG_CAPS == 0 {
            return Ok(Vec::new());
        }
        let mut packet = Packet::sized()
            .u32(0)
            .u32(index)
            .bytes(&vec![0; region.argsz as usize - 12])
            .argsz(None);
        sys::with_sized(self, number::DEVICE_GET_REGION_INFO, &mut packet.0)?;
        let mut found = Vec::new();
        let mut at = packet.read_u32(12) as usize;
        while at != 0 {
            if at < INFO || at + HEADER > packet.0.len() || found.len() > INFO {
                return Err(Errno::PROTO);
            }
            found.push(capability(&packet, at));
            at = packet.read_u32(at + 4) as usize;
        }
        Ok(found)
    }
}

fn capability(packet: &Packet, at: usize) -> Capability {
    let body = at + HEADER;
    let id = packet.read_u32(at) as u16;
    match u32::from(id) {
        VFIO_REGION_INFO_CAP_TYPE => {
            Capability::Type(packet.read_u32(body), packet.read_u32(body + 4))
        }
        VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
            let areas = (0..packet.read_u32(body) as usize).map(|number| {
                let at = body + 8 + 16 * number;
                let start = packet.read_u64(at);
                start..start + packet.read_u64(at + 8)
            });
            Capability::SparseMmap(areas.collect())
        }
        _ => Capability::Other(id),
    }
}
