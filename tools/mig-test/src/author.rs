// SPDX-License-Identifier: GPL-2.0
//! What the `Cargo.toml` of a driver's folder tells `mig-test`, so that the folder alone is enough
//! on the command line.
//!
//! ```toml
//! [package.metadata.mig-test]
//! mdev = "card/card-1"          # the type of its mdevs
//! exercise = "exercise.toml"    # for conform
//! guest-program = "card-guest"  # for migrate: a program of this package
//! ready = "[0-9] rounds"        # what the program prints: see mig-test migrate --help
//! ok = "rounds, 0 wrong"
//! fail = "[1-9][0-9]* wrong"
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use serde::Deserialize;

use crate::failure::unusable;

/// The file that says it.
const MANIFEST: &str = "Cargo.toml";
/// The target of a program that needs nothing in the guest but the kernel.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What a driver's folder says of itself. Each may be left out, and what the command line says
/// comes first.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Author {
    /// The type of its mdevs: PARENT/TYPE.
    pub mdev: Option<String>,
    /// The exercise, a file in the folder.
    pub exercise: Option<PathBuf>,
    /// A program of the package, for the guest.
    pub guest_program: Option<String>,
    /// What the program prints once it works.
    pub ready: Option<String>,
    /// What it prints as long as all is well.
    pub ok: Option<String>,
    /// What it prints when something is wrong.
    pub fail: Option<String>,
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Manifest {
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "mig-test")]
    mig_test: Option<Author>,
}

impl Author {
    /// Returns what the only folder among `modules` says; nothing if there are several, because it
    /// would not be clear whose device is meant.
    pub fn of(modules: &[PathBuf]) -> Result<Author> {
        let [folder] = modules else {
            return Ok(Author::default());
        };
        let file = folder.join(MANIFEST);
        let Ok(text) = fs::read_to_string(&file) else {
            return Ok(Author::default());
        };
        match parse(&text) {
            Ok(author) => Ok(Author {
                exercise: author.exercise.map(|file| folder.join(file)),
                folder: folder.clone(),
                ..author
            }),
            Err(error) => unusable!("{}: {error:#}", file.display()),
        }
    }

    /// Builds the guest's program with this machine's cargo, below `target`, and returns its file.
    pub fn build_guest_program(&self, target: &Path) -> Result<Option<PathBuf>> {
        let Some(program) = &self.guest_program else {
            return Ok(None);
        };
        let target = target.join("guest");
        eprintln!("building {program} ...");
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--target", TARGET, "--bin", program]);
        cargo.arg("--target-dir").arg(&target);
        // In the folder, so that its own configuration counts.
        let status = cargo.current_dir(&self.folder).status();
        let status = status.context("start cargo, which builds the guest's program")?;
        ensure!(
            status.success(),
            "cargo has not built {program} in {}: see above",
            self.folder.display()
        );
        Ok(Some(target.join(TARGET).join("debug").join(program)))
    }
}

fn parse(text: &str) -> Result<Author, toml::de::Error> {
    let manifest: Manifest = toml::from_str(text)?;
    let metadata = manifest.package.and_then(|package| package.metadata);
    Ok(metadata.and_then(|all| all.mig_test).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_it_says_and_no_more() {
        let author = parse(
            "[package]\nname = \"card\"\n[package.metadata.mig-test]\nmdev = \"card/card-1\"\n\
             guest-program = \"card-guest\"\n",
        )
        .unwrap();
        assert_eq!(author.mdev.as_deref(), Some("card/card-1"));
        assert_eq!(author.guest_program.as_deref(), Some("card-guest"));
        assert_eq!(author.ok, None);
        assert_eq!(parse("[workspace]\n").unwrap(), Author::default());
        assert_eq!(
            parse("[package]\nname = \"x\"\n").unwrap(),
            Author::default()
        );
    }

    #[test]
    fn a_misspelled_key_is_refused_with_those_that_there_are() {
        let text = "[package.metadata.mig-test]\nguest = \"x\"\n";
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("unknown field `guest`") && error.contains("`guest-program`"));
    }

    #[test]
    fn a_folder_without_a_manifest_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(Author::of(&[path]).unwrap(), Author::default());
    }
}
