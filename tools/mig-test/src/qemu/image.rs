// SPDX-License-Identifier: GPL-2.0
//! The kernel and the initramfs that guests boot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mig_common::modules::{self, Module};

use super::initramfs;

/// The name of a file at the top of the initramfs, and its content.
pub type File = (String, Vec<u8>);

/// The memory of a VM in MiB, with the guest program alone.
const MEMORY: usize = 128;

/// The files that every VM of a scenario starts from.
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The memory of VMs, in MiB.
    pub memory: usize,
    /// Whether VMs have an IOMMU, which the guest uses for its devices.
    pub iommu: bool,
}

impl Image {
    /// Makes the guest's initramfs in `dir` from the guest program, modules of its kernel, and
    /// other files.
    pub fn prepare(
        kernel: &Path,
        program: &Path,
        dir: &Path,
        modules: &[Module],
        mut files: Vec<File>,
    ) -> Result<Image> {
        fs::create_dir_all(dir)?;
        let init = fs::read(program).with_context(|| {
            format!(
                "read the guest program {}; is mig-guest built?",
                program.display()
            )
        })?;
        // The initramfs and what is unpacked from it exist at the same time, and the latter may
        // take half of the memory.
        let added: usize = files.iter().map(|(_, content)| content.len()).sum();
        let initramfs = dir.join("guest.cpio");
        for (place, _) in modules {
            files.push(module(kernel, place)?);
        }
        fs::write(&initramfs, initramfs::pack(&init, &files))?;
        Ok(Image {
            kernel: kernel.to_owned(),
            initramfs,
            memory: MEMORY + (4 * added).div_ceil(1 << 20),
            iommu: false,
        })
    }

    /// The same for VMs with an IOMMU.
    pub fn with_iommu(self) -> Image {
        Image {
            iommu: true,
            ..self
        }
    }
}

/// Returns a module of the guest's kernel, and the name of its file. The kernel is in the folder of
/// its modules.
fn module(kernel: &Path, place: &str) -> Result<File> {
    let name = modules::file(place);
    let path = kernel.with_file_name("kernel").join(place);
    let path = path.with_file_name(&name);
    let data = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    Ok((name, data))
}
