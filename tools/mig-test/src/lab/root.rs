// SPDX-License-Identifier: GPL-2.0
//! The root file system: a Debian release with the stock kernel, QEMU, and the tools that build modules.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::abi::{Packaged, SERIES};
use super::apt::Mirror;
use super::bootstrap::{lean, Root};
use super::chroot::Chroot;
use super::component::{Build, Component};
use super::packages::Packages;
use super::task;

/// Where the lab's kernel boots from and its modules are built in: Debian 13.
pub const TRIXIE: Component = Component {
    name: "root",
    about: "the root file system (Debian 13 with kernel, QEMU and compilers)",
    only_for: None,
    space: 3200,
    needs: &[],
    recipe: || {
        [
            SUITES.join(" "),
            PACKAGES.into(),
            SERIES.into(),
            lean(VARIANT).join(" "),
        ]
        .join("\n")
    },
    build,
};

const VARIANT: &str = "minbase";
const SUITES: [&str; 2] = ["trixie", "trixie-backports"];

const PACKAGES: &str = "\
    bc bindgen bison busybox-static cargo cpio flex gcc-14 kmod libclang-dev libelf-dev libssl-dev \
    make mdevctl pahole python3 qemu-system-x86 rust-clippy rust-src rustc rustfmt seabios xz-utils";

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let mirror = Mirror::find(build.mirror)?;
    build.progress.detail("choosing the kernel");
    let kernel = Packaged::resolve(&mirror, &Packages::fetch(build, &mirror, &SUITES, path)?)?;
    Root {
        suites: &SUITES,
        packages: format!("{PACKAGES} {}", kernel.packages().join(" ")),
        options: lean(VARIANT),
    }
    .make(build, &mirror, path)?;
    Ok([
        ("abi", kernel.abi),
        ("version", kernel.version),
        ("qemu", qemu_version(build, path)?),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into())
}

/// What the QEMU in a root says that it is.
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
