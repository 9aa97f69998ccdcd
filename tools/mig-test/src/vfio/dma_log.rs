// SPDX-License-Identifier: GPL-2.0
//! A device's DMA log of the guest memory that it has written: VFIO_DEVICE_FEATURE_DMA_LOGGING_*.

use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys::Mapping;
use rustix::io::Result;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET,
};

use super::device::Device;
use super::dma::set_bits;

impl Device {
    /// Returns whether the device has a log.
    pub fn has_log(&self) -> bool {
        self.can_set(VFIO_DEVICE_FEATURE_DMA_LOGGING_START).is_ok()
    }

    /// Starts the log for ranges of IOVA and length; returns its page size.
    pub fn start_log(&self, page_size: u64, ranges: &[(u64, u64)]) -> Result<u64> {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(iova, length)| [iova.to_ne_bytes(), length.to_ne_bytes()])
            .flatten()
            .collect();
        let list = Mapping::anonymous(bytes.len().max(1))?;
        list.write(0, &bytes);
        let payload = Packet(Vec::new())
            .u64(page_size)
            .u32(ranges.len() as u32)
            .u32(0)
            .u64(list.address());
        let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
        let answer = self.feature(flags, &payload.0, None)?;
        Ok(Packet(answer).read_u64(0))
    }

    /// Stops the log.
    pub fn stop_log(&self) -> Result<()> {
        let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP;
        self.feature(flags, &[], None).map(drop)
    }

    /// Returns the dirty pages of a range, counted from its first, in pages of a given size, and
    /// marks them clean.
    pub fn take_log(&self, iova: u64, length: usize, page_size: usize) -> Result<Vec<usize>> {
        let pages = length.div_ceil(page_size.max(1));
        let bitmap = Mapping::anonymous(pages.div_ceil(64).max(1) * 8)?;
        let payload = Packet(Vec::new())
            .u64(iova)
            .u64(length as u64)
            .u64(page_size as u64)
            .u64(bitmap.address());
        let flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
        self.feature(flags, &payload.0, None)?;
        let mut bytes = vec![0; bitmap.len()];
        bitmap.read(0, &mut bytes);
        Ok(set_bits(&bytes, pages))
    }
}
