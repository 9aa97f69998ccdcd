// SPDX-License-Identifier: GPL-2.0
//! The picture of a VFIO device: VFIO_DEVICE_QUERY_GFX_PLANE.

use std::mem::offset_of;

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::io::Result;
use vfio_bindings::bindings::vfio::vfio_device_gfx_plane_info;

use super::device::Device;

/// The number of words of the structure after its length and its flags.
const WORDS: usize = 14;

/// Answer to VFIO_DEVICE_QUERY_GFX_PLANE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// DRM format code; 0 if there is no picture, and then the rest is meaningless.
    pub format: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Bytes of the picture, rounded up to whole pages.
    pub size: u32,
    /// The region that begins with it.
    pub region: u32,
}

impl Device {
    /// Calls VFIO_DEVICE_QUERY_GFX_PLANE for the primary plane.
    pub fn query_plane(&self, flags: u32, argsz: Option<u32>) -> Result<Plane> {
        let zeros = [0; 4 * WORDS];
        let mut packet = Packet::sized().u32(flags).bytes(&zeros).argsz(argsz);
        sys::with_sized(self, number::DEVICE_QUERY_GFX_PLANE, &mut packet.0)?;
        let end = offset_of!(vfio_device_gfx_plane_info, __bindgen_anon_1);
        Ok(Plane {
            format: packet.read_u32(offset_of!(vfio_device_gfx_plane_info, drm_format)),
            width: packet.read_u32(offset_of!(vfio_device_gfx_plane_info, width)),
            height: packet.read_u32(offset_of!(vfio_device_gfx_plane_info, height)),
            stride: packet.read_u32(offset_of!(vfio_device_gfx_plane_info, stride)),
            size: packet.read_u32(offset_of!(vfio_device_gfx_plane_info, size)),
            region: packet.read_u32(end),
        })
    }
}
