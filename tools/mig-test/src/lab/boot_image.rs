// SPDX-License-Identifier: GPL-2.0
//! The initramfs of the lab VM: enough to mount the shared root and start in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::task;

/// The initramfs.
pub const BOOT: Component = Component {
    name: "boot",
    about: "the initramfs of the lab VM",
    only_for: None,
    space: 50,
    needs: &["root"],
    recipe: || [PACK, INIT].join("\n"),
    build,
};

/// Its file name.
pub const INITRAMFS: &str = "initramfs.cpio";

const PACK: &str = include_str!("scripts/pack-initramfs.sh");
const INIT: &str = include_str!("scripts/init.sh");

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let root = build.lab.ready("root");
    fs::write(path.join("init"), INIT)?;
    let mut script = Chroot::new(&root.path)
        .writing(path, place::OUT)
        .script(PACK);
    script.args([root.fact("abi"), INITRAMFS]);
    task::run("packing the initramfs", script, &build.log, build.progress)?;
    Ok(BTreeMap::new())
}
