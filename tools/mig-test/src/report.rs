// SPDX-License-Identifier: GPL-2.0
//! The reports of a scenario to the host: flat records with the unit in each name.

use serde::Serialize;

/// The figures of one migration of a guest.
#[derive(Debug, Clone, Serialize)]
pub struct Migration {
    /// The drivers of its devices.
    pub devices: String,
    /// From start to end.
    pub total_ms: u64,
    /// The time in which the guest was stopped.
    pub downtime_ms: u64,
    /// Preparation at the source.
    pub setup_ms: u64,
    /// Bytes of device state in the stream, if QEMU reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<u64>,
    /// The data of the serial card, if the guest has one.
    #[serde(flatten)]
    pub serial: Option<Serial>,
    /// The data of the GPU, if the guest has one.
    #[serde(flatten)]
    pub gpu: Option<Gpu>,
    /// Release of the host's kernel.
    pub kernel: String,
    /// Version of QEMU.
    pub qemu: String,
    /// The complaints that QEMU printed.
    pub qemu_complaints: Vec<String>,
}

/// The data of a serial card.
#[derive(Debug, Clone, Serialize)]
pub struct Serial {
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
}

/// The data of a GPU.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gpu {
    /// Bytes of its state that were sent while it ran.
    pub gpu_pre_copy_bytes: u64,
    /// Bytes of its state that were sent after it had stopped.
    pub gpu_stop_copy_bytes: u64,
    /// Commands that the source had not finished.
    pub commands_carried: u32,
    /// Commands that were executed on both sides.
    pub commands: u64,
    /// Checks of pages of guest memory and VRAM; a page may be checked several times.
    pub pages_checked: u64,
    /// Pages that held older contents than those written last.
    pub pages_lost: u64,
    /// Pages that held other contents.
    pub pages_corrupt: u64,
    /// The first finding of either kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_damage: Option<String>,
    /// Whether the screen shows the picture that the guest has drawn, before and after.
    pub picture_equal: bool,
}
