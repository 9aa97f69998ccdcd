// SPDX-License-Identifier: GPL-2.0
//! Makes root file systems from Debian's packages.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::apt::Mirror;
use super::component::Build;
use super::{check, task};

/// Omits documentation, a fifth of the files, which is not used there. The finished root is flushed
/// to disk as a whole, so dpkg need not flush each file.
const LEAN: [&str; 4] = [
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// Options of mmdebstrap for a small root of one of its variants.
pub fn lean(variant: &str) -> Vec<String> {
    let options = LEAN.into_iter().map(String::from);
    [format!("--variant={variant}")]
        .into_iter()
        .chain(options)
        .collect()
}

/// The contents of a root.
pub struct Root<'a> {
    /// The suites of the packages. The first is the release.
    pub suites: &'a [&'a str],
    /// Packages, separated by white space.
    pub packages: String,
    /// Options of mmdebstrap.
    pub options: Vec<String>,
}

impl Root<'_> {
    /// Makes the root in an empty folder, from the packages of `mirror`.
    pub fn make(&self, build: &Build, mirror: &Mirror, path: &Path) -> Result<()> {
        check::programs(&["mmdebstrap"])?;
        let mut mmdebstrap = task::contained();
        mmdebstrap
            .arg("mmdebstrap")
            .args(&self.options)
            .args(["--mode=root", "--format=directory"]);
        let packages: Vec<&str> = self.packages.split_whitespace().collect();
        mmdebstrap
            .arg(format!("--include={}", packages.join(",")))
            .arg(self.suites[0])
            .arg(path)
            .args(self.suites.iter().map(|suite| mirror.source_line(suite)));
        task::run("mmdebstrap", mmdebstrap, &build.log, build.progress)
            .map_err(|error| check::explain(error, path, &mirror.uri))?;
        // Packages that are unpacked and no more leave out what others mount there.
        for folder in ["dev", "opt", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(path.join(folder))?;
        }
        Ok(())
    }
}
