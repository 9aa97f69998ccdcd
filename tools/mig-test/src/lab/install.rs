// SPDX-License-Identifier: GPL-2.0
//! Installs modules for a machine that runs one of Debian's kernels.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::modules::{self, Goal};
use super::{check, task, Kernel, Lab};
use crate::progress::Progress;

/// Installs the modules below `root` for a kernel.
pub fn install(lab: &Lab, kernel: Kernel, root: &Path) -> Result<()> {
    modules::build(lab, kernel, Goal::Modules)?;
    let abi = lab.components.ready(kernel.tree()).fact("abi");
    let updates = root.join("lib/modules").join(abi).join("updates");
    let folder = format!("kmod{}", lab.suffix(kernel));
    fs::create_dir_all(&updates).with_context(|| updates.display().to_string())?;
    for module in modules::built(&lab.target.join(folder))? {
        let name = module.file_name().context("a module has a name")?;
        fs::copy(&module, updates.join(name))?;
        println!("{}", updates.join(name).display());
    }
    if check::programs(&["depmod"]).is_err() {
        println!("depmod is not installed here: run depmod {abi} where the modules will be used");
        return Ok(());
    }
    let progress = Progress::start("indexing the kernel modules");
    let mut depmod = Command::new("depmod");
    depmod.arg("-b").arg(root).arg(abi);
    task::run("depmod", depmod, &lab.work.join("install.log"), &progress)?;
    progress.done();
    Ok(())
}
