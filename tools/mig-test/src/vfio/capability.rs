// SPDX-License-Identifier: GPL-2.0
//! The capabilities of a region: the chain after `struct vfio_region_info`.

use std::ops::Range;

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_CAP_TYPE, VFIO_REGION_INFO_FLAG_CAPS,
};

use super::device::Device;

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
