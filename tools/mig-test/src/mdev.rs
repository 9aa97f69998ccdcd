// SPDX-License-Identifier: GPL-2.0
//! Mediated devices in sysfs (see the kernel's Documentation/driver-api/vfio-mediated-device.rst).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::failure::unusable;

/// The folder of the parents of mediated devices.
pub const PARENTS: &str = "/sys/class/mdev_bus";
/// The folder of all mediated devices of all parents.
pub const DEVICES: &str = "/sys/bus/mdev/devices";

/// One type of mediated device that a parent offers.
#[derive(Debug, Clone)]
pub struct MdevType {
    path: PathBuf,
}

impl MdevType {
    /// Finds a type of a parent by its name.
    pub fn find(parent: &str, name: &str) -> Result<MdevType> {
        let path = Path::new(PARENTS)
            .join(parent)
            .join("mdev_supported_types")
            .join(name);
        if !path.exists() {
            unusable!(
                "there is no mdev type {parent}/{name}, but {}; is its driver loaded?",
                types()?.join(", ")
            );
        }
        Ok(MdevType { path })
    }

    /// Finds a type by its name with its parent's, `PARENT/TYPE`.
    pub fn named(name: &str) -> Result<MdevType> {
        let (parent, kind) = name.split_once('/').context("an mdev is PARENT/TYPE")?;
        MdevType::find(parent, kind)
    }

    /// Reads an attribute.
    pub fn attribute(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Returns the number of further devices of this type that can be made.
    pub fn available(&self) -> Result<u32> {
        Ok(self.attribute("available_instances")?.parse()?)
    }

    /// Writes the text to `create` unchanged, and returns the kernel's result.
    pub fn write_create(&self, text: &str) -> io::Result<()> {
        fs::write(self.path.join("create"), text)
    }

    /// Makes a device with a random UUID.
    pub fn create(&self) -> Result<Mdev> {
        let uuid = random_uuid()?;
        self.write_create(&uuid)
            .with_context(|| format!("create an mdev of type {}", self.path.display()))?;
        Ok(Mdev {
            path: Path::new(DEVICES).join(&uuid),
            uuid,
        })
    }
}

/// Returns the types of all parents, as PARENT/TYPE.
fn types() -> Result<Vec<String>> {
    let mut found = Vec::new();
    // Without the module there is no such class.
    for parent in fs::read_dir(PARENTS).into_iter().flatten() {
        let parent = parent?;
        for kind in fs::read_dir(parent.path().join("mdev_supported_types"))? {
            let name = [parent.file_name(), kind?.file_name()];
            found.push(
                name.map(|part| part.to_string_lossy().into_owned())
                    .join("/"),
            );
        }
    }
    found.sort();
    if found.is_empty() {
        found.push("none at all".into());
    }
    Ok(found)
}

/// Returns the names of the parents that have a type.
pub fn parents_with(kind: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(PARENTS).into_iter().flatten() {
        let entry = entry?;
        if entry
            .path()
            .join("mdev_supported_types")
            .join(kind)
            .exists()
        {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the names of all devices.
pub fn devices() -> Result<Vec<String>> {
    match fs::read_dir(DEVICES) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect(),
        // Without the module there is no bus.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).context(DEVICES),
    }
}

/// Returns a random UUID.
pub fn random_uuid() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}

/// A mediated device. Its drop removes it.
#[derive(Debug)]
pub struct Mdev {
    /// Its name.
    pub uuid: String,
    path: PathBuf,
}

impl Mdev {
    /// Takes over an existing device.
    pub fn named(uuid: &str) -> Result<Mdev> {
        let path = Path::new(DEVICES).join(uuid);
        if uuid.is_empty() || !path.exists() {
            bail!("there is no mdev named \"{uuid}\"");
        }
        Ok(Mdev {
            uuid: uuid.to_owned(),
            path,
        })
    }

    /// Returns its folder in sysfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the text to `remove` unchanged, and returns the kernel's result.
    pub fn write_remove(&self, text: &str) -> io::Result<()> {
        fs::write(self.path.join("remove"), text)
    }
}

impl Drop for Mdev {
    fn drop(&mut self) {
        // A scenario that removes the device itself has nothing left to remove here. A device that
        // stays is found by who looks at what the scenario has left.
        let _ = self.write_remove("1");
    }
}
