// SPDX-License-Identifier: GPL-2.0
//! Debian's kernels, one of each series: the bootable files, and a build tree with the Rust
//! metadata that no package contains.
//!
//! The tree is prepared with the packages' own configuration and compilers, so it yields the symbol
//! names of the running kernel. They contain hashes of the crates, so any different input changes
//! them. Every build checks them, because a module with other names would not load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::abi::{Packaged, PARTS, SUITES};
use super::apt::Mirror;
use super::chroot::{place, Chroot};
use super::component::{Build, Component, Ready};
use super::packages::Packages;
use super::{task, Kernel};

/// The compiler that Debian builds these series with.
pub const CC: &str = "x86_64-linux-gnu-gcc-14";

/// The newest series.
pub const V7_3: Component = Component {
    name: "kernel-7.3",
    about: "Debian's kernel 7.3 and its build tree, with Rust metadata",
    only_for: Some("--kernel 7.3"),
    space: SPACE,
    needs: NEEDS,
    recipe,
    build: |build, path| make(Kernel::V7_3, build, path),
};

/// The one before it.
pub const V7_2: Component = Component {
    name: "kernel-7.2",
    about: "Debian's kernel 7.2 and its build tree, with Rust metadata",
    only_for: Some("--kernel 7.2"),
    space: SPACE,
    needs: NEEDS,
    recipe,
    build: |build, path| make(Kernel::V7_2, build, path),
};

const SPACE: u64 = 1200;
const NEEDS: &[&str] = &["root"];
const SCRIPT: &str = include_str!("scripts/prepare-kernel.sh");

fn recipe() -> String {
    [SCRIPT, CC, &PARTS.join(" ")].join("\n")
}

fn make(series: Kernel, build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let mirror = Mirror::find(build.mirror)?;
    let lists = Packages::fetch(build, &mirror, &SUITES, path)?;
    let kernel = Packaged::resolve(&mirror, &lists, &[series])?;
    build.progress.detail("fetching the packages");
    lists.download(build, &mirror, &kernel.packages(), &path.join("packages"))?;
    drop(lists);
    let mut script = Chroot::new(&build.lab.ready("root").path)
        .writing(path, place::KBUILD)
        .script(SCRIPT);
    script.args([series.name(), &kernel.abi, CC]);
    task::run(
        "preparing the kernel's build tree",
        script,
        &build.log,
        build.progress,
    )?;
    Ok([("abi", kernel.abi), ("version", kernel.version)]
        .map(|(name, value)| (name.to_string(), value))
        .into())
}

/// Returns the files of a kernel in the root of the lab VM: its image, and its modules with
/// modprobe's indexes.
pub fn image(kernel: &Ready) -> PathBuf {
    kernel.path.join("image")
}

/// Returns the bootable file in the root of the lab VM.
pub fn file(kernel: &Ready) -> String {
    format!("/usr/lib/modules/{}/vmlinux", kernel.fact("abi"))
}
