// SPDX-License-Identifier: GPL-2.0
//! PCI devices in the guest's sysfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the first device with these ids.
pub fn find(vendor: u16, device: u16) -> io::Result<PathBuf> {
    let is = |path: &Path, name: &str, id: u16| attribute(path, name) == format!("{id:#06x}");
    fs::read_dir("/sys/bus/pci/devices")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is(path, "vendor", vendor) && is(path, "device", device))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no PCI device {vendor:04x}:{device:04x}"),
            )
        })?
        .canonicalize()
}

/// An attribute of a device; empty if it has none of this name.
pub fn attribute(device: &Path, name: &str) -> String {
    fs::read_to_string(device.join(name))
        .unwrap_or_default()
        .trim()
        .to_owned()
}
