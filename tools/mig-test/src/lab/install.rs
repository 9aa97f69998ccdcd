// SPDX-License-Identifier: GPL-2.0
//! The lab's outputs for other programs: modules for a machine that runs one of Debian's kernels,
//! and the description of the kernel side for an editor.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::chroot::place;
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

/// Writes `rust-project.json` with this machine's paths.
pub fn rust_analyzer(lab: &Lab) -> Result<()> {
    let kernel = lab.default_kernel();
    modules::build(lab, kernel, Goal::Analyzer)?;
    let made = lab.target.join("kmod/rust-project.json");
    let text = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
    let path = |component: &str| lab.components.ready(component).path.display().to_string();
    let text = text
        .replace(place::KBUILD, &path(kernel.tree()))
        .replace(place::SOURCE, &lab.project.display().to_string())
        .replace(place::OUT, &lab.target.join("kmod").display().to_string())
        .replace("\"/usr/", &format!("\"{}/usr/", path("root")));
    let file = lab.project.join("rust-project.json");
    fs::write(&file, text)?;
    println!("{}", file.display());
    Ok(())
}
