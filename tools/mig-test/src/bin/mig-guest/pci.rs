// SPDX-License-Identifier: GPL-2.0
//! PCI devices in the guest's sysfs.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::system::finit_module;

use mig_common::modules::{self, Module};

/// MODULE_INIT_COMPRESSED_FILE of <linux/module.h>.
const COMPRESSED: i32 = 4;
/// PCI_COMMAND of <linux/pci_regs.h>; PCI_STATUS follows.
const COMMAND: u64 = 4;
/// PCI_COMMAND_MASTER.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// PCI_COMMAND_INTX_DISABLE.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;
/// PCI_STATUS_INTERRUPT.
pub const STATUS_INTERRUPT: u16 = 1 << 3;

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

/// Opens a BAR of a device, to be mapped or, if it has ports, to be read and written.
pub fn bar(device: &Path, index: usize) -> io::Result<File> {
    let path = device.join(format!("resource{index}"));
    File::options().read(true).write(true).open(path)
}

/// An attribute of a device; empty if it has none of this name.
pub fn attribute(device: &Path, name: &str) -> String {
    fs::read_to_string(device.join(name))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Loads modules, takes a device from its driver if it has one, and binds it to `driver`, which
/// comes with the modules.
pub fn bind(device: &Path, driver: &str, modules: &[Module]) -> io::Result<()> {
    for (place, parameters) in modules {
        let file = File::open(Path::new("/").join(modules::file(place)))?;
        finit_module(file, &CString::new(*parameters)?, COMPRESSED)?;
    }
    let name = device.file_name().unwrap_or_default().as_encoded_bytes();
    let former = device.join("driver/unbind");
    if former.exists() {
        fs::write(former, name)?;
    }
    fs::write(device.join("driver_override"), driver)?;
    fs::write("/sys/bus/pci/drivers_probe", name)?;
    let bound = fs::read_link(device.join("driver"))?;
    if bound.file_name().is_none_or(|name| name != driver) {
        return Err(io::Error::other(format!("{driver} does not take it")));
    }
    Ok(())
}

/// The configuration space of a device.
pub struct Config(File);

impl Config {
    /// Opens that of the device in a sysfs folder.
    pub fn open(device: &Path) -> io::Result<Config> {
        let path = device.join("config");
        Ok(Config(File::options().read(true).write(true).open(path)?))
    }

    /// Reads the command register and the status register, at once.
    pub fn command_and_status(&self) -> io::Result<(u16, u16)> {
        let mut bytes = [0; 4];
        self.0.read_exact_at(&mut bytes, COMMAND)?;
        let [a, b, c, d] = bytes;
        Ok((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }

    /// Sets and clears bits of the command register.
    pub fn change_command(&self, set: u16, clear: u16) -> io::Result<()> {
        let (command, _) = self.command_and_status()?;
        let command = command & !clear | set;
        self.0.write_all_at(&command.to_le_bytes(), COMMAND)
    }
}
