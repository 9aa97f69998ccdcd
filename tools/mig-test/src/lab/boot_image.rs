// SPDX-License-Identifier: GPL-2.0
//! The initramfs of the lab VM, which mounts the shared root and starts in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::{stock_kernel, task, Kernel};

/// The initramfs with the modules of kernel 7.3.
pub const V7_3: Component = Component {
    name: "boot-7.3",
    about: "the initramfs of the lab VM, for kernel 7.3",
    only_for: Some("--kernel 7.3"),
    space: SPACE,
    needs: &["root", "kernel-7.3"],
    recipe,
    build: |build, path| make(Kernel::V7_3, build, path),
};

/// The initramfs with the modules of kernel 7.2.
pub const V7_2: Component = Component {
    name: "boot-7.2",
    about: "the initramfs of the lab VM, for kernel 7.2",
    only_for: Some("--kernel 7.2"),
    space: SPACE,
    needs: &["root", "kernel-7.2"],
    recipe,
    build: |build, path| make(Kernel::V7_2, build, path),
};

const SPACE: u64 = 50;

/// Its file name.
pub const INITRAMFS: &str = "initramfs.cpio";

const PACK: &str = include_str!("scripts/pack-initramfs.sh");
const INIT: &str = include_str!("scripts/init.sh");

fn recipe() -> String {
    [PACK, INIT].join("\n")
}

fn make(kernel: Kernel, build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let kernel = build.lab.ready(kernel.tree());
    fs::write(path.join("init"), INIT)?;
    let mut script = Chroot::new(&build.lab.ready("root").path)
        .reading(&stock_kernel::image(kernel), place::KERNEL)
        .writing(path, place::OUT)
        .script(PACK);
    script.args([kernel.fact("abi"), INITRAMFS]);
    task::run("packing the initramfs", script, &build.log, build.progress)?;
    Ok(BTreeMap::new())
}
