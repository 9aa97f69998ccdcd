// SPDX-License-Identifier: GPL-2.0
//! Root file systems: a Debian release with the stock kernel, QEMU, and the tools that build modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::abi::{Kernel, SERIES};
use super::apt::Mirror;
use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::{check, task};

/// Where the lab's kernel boots from and its modules are built in: Debian 13.
pub const TRIXIE: Component = Component {
    name: "root",
    about: "the root file system (Debian 13 with kernel, QEMU and compilers)",
    space: 3200,
    needs: &[],
    recipe: || {
        [
            SUITES.join(" "),
            PACKAGES.into(),
            SERIES.into(),
            OPTIONS.join(" "),
        ]
        .join("\n")
    },
    build,
};

const SUITES: [&str; 2] = ["trixie", "trixie-backports"];

const PACKAGES: &str = "\
    bc bindgen bison busybox-static cargo cpio flex gcc-14 kmod libclang-dev libelf-dev libssl-dev \
    make mdevctl pahole python3 qemu-system-x86 rust-clippy rust-src rustc rustfmt seabios xz-utils";

/// Documentation is a fifth of the files, and nobody reads it there. The finished root is flushed to
/// the disk as a whole, so dpkg need not flush each file.
const OPTIONS: [&str; 5] = [
    "--variant=minbase",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    check::programs(&["mmdebstrap", "apt-get", "apt-cache"])?;
    let mirror = Mirror::find(build.mirror)?;
    build.progress.detail("choosing the kernel");
    let scratch = path.join("apt");
    let kernel = Kernel::resolve(&mirror, &SUITES, &scratch, &build.log, build.progress)?;
    fs::remove_dir_all(&scratch)?;

    let mut mmdebstrap = task::contained();
    mmdebstrap
        .arg("mmdebstrap")
        .args(OPTIONS)
        .arg("--mode=root")
        .arg("--format=directory");
    let packages: Vec<&str> = PACKAGES.split_whitespace().collect();
    mmdebstrap.arg(format!("--include={}", packages.join(",")));
    mmdebstrap.arg(format!("--include={}", kernel.packages().join(",")));
    mmdebstrap
        .arg(SUITES[0])
        .arg(path)
        .args(SUITES.map(|suite| mirror.source_line(suite)));
    task::run("mmdebstrap", mmdebstrap, &build.log, build.progress)
        .map_err(|error| check::explain(error, path, &mirror.uri))?;

    for folder in place::ALL {
        let folder = path.join(&folder[1..]);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let mut version = Chroot::new(path).command("qemu-system-x86_64");
    version.arg("--version");
    let version = task::run("QEMU", version, &build.log, build.progress)?;
    let version = version.split_whitespace().nth(3).unwrap_or("unknown");
    Ok([
        ("abi", kernel.abi),
        ("version", kernel.version),
        ("qemu", version.to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into())
}
