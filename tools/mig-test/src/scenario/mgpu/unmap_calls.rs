// SPDX-License-Identifier: GPL-2.0
//! How often guest memory is taken away by a call that asks which of it is dirty: the kernel's
//! tracing sees what QEMU does with its container.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mig_common::vfio::number;
use rustix::mount::{mount, MountFlags};
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, VFIO_TYPE};

/// Where the kernel's tracing is.
const TRACING: &str = "/sys/kernel/tracing";
/// Where it is told of functions to look at, if the kernel has CONFIG_KPROBE_EVENTS.
const PROBES: &str = "kprobe_events";
/// The event's group and name.
const EVENT: (&str, &str) = ("mig_test", "unmap_dirty");
/// VFIO_IOMMU_UNMAP_DMA.
const UNMAP_DMA: u32 = (VFIO_TYPE as u32) << 8 | (VFIO_BASE + number::IOMMU_UNMAP_DMA);

/// An account of those calls, of all processes, that begin at IOVA 0.
pub struct UnmapCalls(());

impl UnmapCalls {
    /// Begins the account; nothing if this kernel cannot keep one.
    pub fn watch() -> Result<Option<UnmapCalls>> {
        if !Path::new(TRACING).join("trace").exists() {
            mount("tracefs", TRACING, "tracefs", MountFlags::empty(), None)?;
        }
        if !Path::new(TRACING).join(PROBES).exists() {
            return Ok(None);
        }
        let (group, name) = EVENT;
        // The second argument is the ioctl's number, the third points to the caller's
        // struct vfio_iommu_type1_dma_unmap.
        let probe = format!(
            "p:{group}/{name} vfio_iommu_type1_ioctl \
             number=$arg2:u32 flags=+u4($arg3):u32 iova=+u8($arg3):u64"
        );
        write(PROBES, &probe)?;
        let calls = UnmapCalls(());
        let filter = format!(
            "number == {UNMAP_DMA} && flags == {VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP} && iova == 0"
        );
        write(&of_event("filter"), &filter)?;
        write("trace", "")?;
        write(&of_event("enable"), "1")?;
        Ok(Some(calls))
    }

    /// Calls so far.
    pub fn count(&self) -> Result<usize> {
        let path = Path::new(TRACING).join("trace");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (_, name) = EVENT;
        let is_call = |line: &&str| line.contains(&format!(" {name}: "));
        Ok(text.lines().filter(is_call).count())
    }
}

impl Drop for UnmapCalls {
    fn drop(&mut self) {
        // Should this fail, the event stays, and disturbs nobody.
        let _ = write(&of_event("enable"), "0").and_then(|()| write(PROBES, ""));
    }
}

/// A file of the event's.
fn of_event(file: &str) -> String {
    let (group, name) = EVENT;
    format!("events/{group}/{name}/{file}")
}

fn write(file: &str, text: &str) -> Result<()> {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, text).with_context(|| format!("write \"{text}\" to {}", path.display()))
}
