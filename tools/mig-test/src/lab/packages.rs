// SPDX-License-Identifier: GPL-2.0
//! The packages of a mirror, queried in a scratch folder without any effect on this machine's apt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::apt::Mirror;
use super::component::Build;
use super::{check, task};
use crate::failure::Unusable;

/// The package lists of some suites. Its drop removes them.
pub struct Packages(PathBuf);

impl Packages {
    /// Downloads the lists of `suites` to a folder below `parent`.
    pub fn fetch(build: &Build, mirror: &Mirror, suites: &[&str], parent: &Path) -> Result<Self> {
        check::programs(&["apt-get", "apt-cache"])?;
        let packages = Packages(parent.join("apt"));
        let scratch = &packages.0;
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(scratch.join(folder))?;
        }
        let lines: Vec<String> = suites
            .iter()
            .map(|suite| mirror.source_line(suite))
            .collect();
        fs::write(scratch.join("sources.list"), lines.join("\n") + "\n")?;
        fs::write(scratch.join("status"), "")?;

        let mut update = packages.apt("apt-get");
        // A list that cannot be had is an error here, not a warning.
        update.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        task::run("apt-get update", update, &build.log, build.progress).map_err(|error| {
            Unusable(format!(
                "the package lists of {} could not be had. Check the network, or name another \
                 mirror with MIG_TEST_MIRROR.\n{error}",
                mirror.uri
            ))
        })?;
        Ok(packages)
    }

    /// Returns the names that begin with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.query(&["pkgnames", prefix])?;
        Ok(names.lines().map(String::from).collect())
    }

    /// Returns all versions of the packages `names`, one stanza for each.
    pub fn show(&self, names: &[&str]) -> Result<String> {
        self.query(&[&["show", "--all-versions"], names].concat())
    }

    /// Downloads packages, each as `NAME=VERSION`, to a new folder. apt checks them against the
    /// lists.
    pub fn download(
        &self,
        build: &Build,
        mirror: &Mirror,
        packages: &[String],
        folder: &Path,
    ) -> Result<()> {
        fs::create_dir(folder)?;
        let mut download = self.apt("apt-get");
        download
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args(packages)
            .current_dir(folder);
        task::run("apt-get download", download, &build.log, build.progress)
            .map_err(|error| check::explain(error, folder, &mirror.uri))?;
        Ok(())
    }

    fn query(&self, arguments: &[&str]) -> Result<String> {
        let mut query = self.apt("apt-cache");
        let output = query
            .args(arguments)
            .output()
            .context("cannot start apt-cache")?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            let path = self.0.join(path);
            command
                .arg("-o")
                .arg(format!("{option}={}", path.display()));
        }
        command.args([
            "-o",
            "Dir::Etc::sourceparts=-",
            "-o",
            "Acquire::Languages=none",
        ]);
        command
    }
}

impl Drop for Packages {
    fn drop(&mut self) {
        // What is left makes the root to come look occupied, and mmdebstrap says so.
        let _ = fs::remove_dir_all(&self.0);
    }
}
