// SPDX-License-Identifier: GPL-2.0
//! The debug kernel: the stock kernel's source with the kernel's own checkers in it, which the stock
//! kernel has not: KASAN, lockdep, kmemleak, fault injection; and iommufd.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::abi::SERIES;
use super::apt::Mirror;
use super::bootstrap::{lean, Root};
use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::task;

/// What the debug kernel is built with. KASAN and Rust together want clang.
pub const TOOLCHAIN: Component = Component {
    name: "clang",
    about: "the compilers of the debug kernel (Debian 13 with clang)",
    only_for: Some("--kernel debug"),
    space: 2500,
    needs: &[],
    recipe: || [SUITE, PACKAGES, &lean("minbase").join(" ")].join("\n"),
    build: |build, path| {
        Root {
            suites: &[SUITE],
            packages: PACKAGES.into(),
            options: lean("minbase"),
        }
        .make(build, &Mirror::find(build.mirror)?, path)?;
        Ok(BTreeMap::new())
    },
};

/// The kernel, its modules, and the tree that other modules are built in.
pub const DEBUG: Component = Component {
    name: "debug",
    about: "the debug kernel and its build tree",
    only_for: Some("--kernel debug"),
    space: 4500,
    needs: &["root", "clang"],
    recipe: || [SCRIPT, CONFIG, SERIES].join("\n"),
    build,
};

const SUITE: &str = "trixie";
const PACKAGES: &str = "\
    bc bindgen bison clang cpio flex kmod libclang-dev libelf-dev libssl-dev lld llvm make python3 \
    rust-src rustc rustfmt xz-utils";
const SCRIPT: &str = include_str!("scripts/build-debug-kernel.sh");
const CONFIG: &str = include_str!("scripts/debug.config");

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let (root, toolchain) = (build.lab.ready("root"), build.lab.ready("clang"));
    let abi = root.fact("abi");
    let (number, _) = abi.split_once('+').context("the kernel's release")?;
    let release = format!("{number}-debug");
    fs::write(path.join("debug.config"), CONFIG)?;
    let mut script = Chroot::new(&toolchain.path)
        .reading(&root.path.join("usr/src"), place::SOURCE)
        .writing(path, place::KBUILD)
        .script(SCRIPT);
    script.args([
        &format!("{}/linux-source-{SERIES}.tar.xz", place::SOURCE),
        &release,
    ]);
    task::run(
        "building the debug kernel",
        script,
        &build.log,
        build.progress,
    )?;
    Ok([("abi".to_string(), release)].into())
}
