// SPDX-License-Identifier: GPL-2.0
//! The debug kernel: the source of Debian's newest kernel, with what Debian's kernel lacks: KASAN,
//! lockdep, kmemleak, fault injection; and iommufd.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::abi::{Packaged, SUITES};
use super::apt::Mirror;
use super::bootstrap::{lean, Root};
use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::packages::Packages;
use super::{task, Kernel};

/// The compilers for the debug kernel. KASAN together with Rust requires clang.
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

/// The kernel, its modules, and the build tree for other modules.
pub const DEBUG: Component = Component {
    name: "debug",
    about: "the debug kernel and its build tree",
    only_for: Some("--kernel debug"),
    space: 4900,
    needs: &["clang"],
    recipe: || [SCRIPT, CONFIG, &Kernel::STOCK.map(Kernel::name).join(" ")].join("\n"),
    build,
};

const SUITE: &str = "trixie";
const PACKAGES: &str = "\
    bc bindgen bison clang cpio flex kmod libclang-dev libelf-dev libssl-dev lld llvm make python3 \
    rust-src rustc rustfmt xz-utils";
const SCRIPT: &str = include_str!("scripts/build-debug-kernel.sh");
const CONFIG: &str = include_str!("scripts/debug.config");

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let mirror = Mirror::find(build.mirror)?;
    let lists = Packages::fetch(build, &mirror, &SUITES, path)?;
    let kernel = Packaged::resolve(&mirror, &lists, &Kernel::STOCK)?;
    lists.download(build, &mirror, &[kernel.source()], &path.join("packages"))?;
    drop(lists);
    let (number, _) = kernel.abi.split_once('+').context("the kernel's release")?;
    let release = format!("{number}-debug");
    fs::write(path.join("debug.config"), CONFIG)?;
    let mut script = Chroot::new(&build.lab.ready("clang").path)
        .writing(path, place::KBUILD)
        .script(SCRIPT);
    script.args([kernel.series.name(), &release]);
    task::run(
        "building the debug kernel",
        script,
        &build.log,
        build.progress,
    )?;
    Ok([("abi".to_string(), release)].into())
}
