// SPDX-License-Identifier: GPL-2.0
//! The root file system: a Debian release with QEMU and the tools that build modules. Kernels are
//! separate components, but the build of the root determines the default one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::abi::{Packaged, SUITES as KERNEL_SUITES};
use super::apt::Mirror;
use super::bootstrap::{lean, Root};
use super::chroot::Chroot;
use super::component::{Build, Component};
use super::packages::Packages;
use super::{task, Kernel};
use crate::failure::Unusable;

/// The root that the lab VM starts from and that modules are built in: Debian 13.
pub const TRIXIE: Component = Component {
    name: "root",
    about: "the root file system (Debian 13 with QEMU and compilers)",
    only_for: None,
    space: 2700,
    needs: &[],
    recipe: || {
        [
            SUITE.into(),
            PACKAGES.into(),
            Kernel::STOCK.map(Kernel::name).join(" "),
            lean(VARIANT).join(" "),
        ]
        .join("\n")
    },
    build,
};

const VARIANT: &str = "minbase";
const SUITE: &str = "trixie";

const PACKAGES: &str = "\
    bc bindgen bison busybox-static cargo cpio flex gcc-14 kmod libclang-dev libelf-dev libssl-dev \
    make mdevctl pahole python3 qemu-system-x86 rust-clippy rust-src rustc rustfmt seabios xz-utils zstd";

/// The name of the fact with the default kernel.
pub const DEFAULT_KERNEL: &str = "kernel";

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let mirror = Mirror::find(build.mirror)?;
    build.progress.detail("choosing the kernel");
    let lists = Packages::fetch(build, &mirror, &KERNEL_SUITES, path)?;
    let kernel = Packaged::resolve(&mirror, &lists, &Kernel::STOCK)
        .map_err(|error| Unusable(format!("{error:#}")))?;
    drop(lists);
    Root {
        suites: &[SUITE],
        packages: PACKAGES.into(),
        options: lean(VARIANT),
    }
    .make(build, &mirror, path)?;
    Ok([
        (DEFAULT_KERNEL, kernel.series.name().into()),
        ("qemu", qemu_version(build, path)?),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into())
}

/// Returns the version that the QEMU in a root reports.
pub fn qemu_version(build: &Build, root: &Path) -> Result<String> {
    let mut version = Chroot::new(root).command("qemu-system-x86_64");
    version.arg("--version");
    let version = task::run("QEMU", version, &build.log, build.progress)?;
    Ok(version
        .split_whitespace()
        .nth(3)
        .unwrap_or("unknown")
        .to_string())
}
