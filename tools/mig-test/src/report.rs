// SPDX-License-Identifier: GPL-2.0
//! What a scenario hands to the host: flat records with the unit in each name.

use serde::Serialize;

/// The figures of one migration of a guest with one device.
#[derive(Debug, Clone, Serialize)]
pub struct Migration {
    /// The driver of the device.
    pub device: String,
    /// From start to end.
    pub total_ms: u64,
    /// The guest stood still.
    pub downtime_ms: u64,
    /// Preparation at the source.
    pub setup_ms: u64,
    /// Device state in the stream, if QEMU says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<u64>,
    /// Bytes the guest sent through the device that never came back.
    pub bytes_lost: u64,
    /// Bytes that came back more than once.
    pub bytes_repeated: u64,
    /// Bytes that came back damaged.
    pub bytes_corrupt: u64,
    /// The registers a guest sees are the same before and after.
    pub registers_equal: bool,
    /// Lines that had come back on the source.
    pub lines_before: u64,
    /// Lines that came back on the destination.
    pub lines_after: u64,
    /// Release of the host's kernel.
    pub kernel: String,
    /// Version of QEMU.
    pub qemu: String,
    /// What QEMU printed and should not have.
    pub qemu_complaints: Vec<String>,
}
