// SPDX-License-Identifier: GPL-2.0
//! The build tree of the stock kernel, with the Rust metadata that no package carries.
//!
//! Configured and prepared with the packages' own configuration and compilers, the tree yields the
//! symbol names of the running kernel: they hold hashes of the crates, so one differing input would
//! show. Every build checks that, because a module of other names would not load.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::abi::SERIES;
use super::chroot::{place, Chroot};
use super::component::{Build, Component};
use super::task;

/// The compiler that Debian builds this series with.
pub const CC: &str = "x86_64-linux-gnu-gcc-14";

/// The tree of Debian's kernel.
pub const STOCK: Component = Component {
    name: "kbuild",
    about: "the build tree of the stock kernel, with Rust metadata",
    only_for: None,
    space: 1200,
    needs: &["root"],
    recipe: || [SCRIPT, SERIES, CC].join("\n"),
    build,
};

const SCRIPT: &str = include_str!("scripts/prepare-kernel.sh");

fn build(build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let root = build.lab.ready("root");
    let abi = root.fact("abi");
    let mut script = Chroot::new(&root.path)
        .writing(path, place::KBUILD)
        .script(SCRIPT);
    script.args([SERIES, abi, CC]);
    task::run(
        "preparing the kernel's build tree",
        script,
        &build.log,
        build.progress,
    )?;
    Ok([("abi".to_string(), abi.to_string())].into())
}
