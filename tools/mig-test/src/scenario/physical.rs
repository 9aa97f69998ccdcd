// SPDX-License-Identifier: GPL-2.0
//! PCI devices of the lab VM that vfio-pci takes: peers of what the SDK emulates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};

use super::bed::load;

/// Vendor and device id, as in sysfs.
pub type Ids = [&'static str; 2];
/// QEMU's `edu`.
pub const EDU: Ids = ["0x1234", "0x11e8"];
/// QEMU's virtio-rng on a conventional bus, which has several vectors of MSI-X.
pub const RNG: Ids = ["0x1af4", "0x1005"];

const UNSAFE_INTERRUPTS: &str = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// A PCI device that vfio-pci has; given back to its driver when dropped.
pub struct Physical {
    path: PathBuf,
    _allowed: UnsafeInterrupts,
}

impl Physical {
    /// Gives the first device with these ids to vfio-pci.
    pub fn bind(ids: Ids) -> Result<Physical> {
        load("vfio-pci")?;
        let allowed = UnsafeInterrupts::allow()?;
        for entry in fs::read_dir("/sys/bus/pci/devices")? {
            let path = entry?.path();
            let is = |(file, wanted)| {
                fs::read_to_string(path.join(file)).is_ok_and(|id: String| id.trim() == wanted)
            };
            if !["vendor", "device"].into_iter().zip(ids).all(is) {
                continue;
            }
            let found = Physical {
                path,
                _allowed: allowed,
            };
            found.leave();
            found.probe("vfio-pci")?;
            let driver = fs::read_link(found.path.join("driver"));
            ensure!(
                driver.is_ok_and(|driver| driver.ends_with("vfio-pci")),
                "vfio-pci does not take the device"
            );
            return Ok(found);
        }
        anyhow::bail!("the lab VM has no device {}", ids.join(":"))
    }

    /// Its folder in sysfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a driver take the device; with no name, the one that matches.
    fn probe(&self, driver: &str) -> Result<()> {
        fs::write(self.path.join("driver_override"), format!("{driver}\n"))?;
        fs::write("/sys/bus/pci/drivers_probe", self.address())?;
        Ok(())
    }

    /// Takes the device from its driver, if it has one.
    fn leave(&self) {
        let _ = fs::write(self.path.join("driver/unbind"), self.address());
    }

    fn address(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_encoded_bytes()
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        self.leave();
        // What fails leaves the device without a driver, where it harms nobody.
        let _ = self.probe("");
    }
}

/// That type1 takes physical devices though the lab VM does not remap interrupts, which it does not
/// by default; no longer when dropped.
struct UnsafeInterrupts {
    before: String,
}

impl UnsafeInterrupts {
    fn allow() -> Result<UnsafeInterrupts> {
        let before = fs::read_to_string(UNSAFE_INTERRUPTS)?;
        fs::write(UNSAFE_INTERRUPTS, "1")?;
        Ok(UnsafeInterrupts { before })
    }
}

impl Drop for UnsafeInterrupts {
    fn drop(&mut self) {
        // What can be written once can be written again.
        let _ = fs::write(UNSAFE_INTERRUPTS, &self.before);
    }
}
