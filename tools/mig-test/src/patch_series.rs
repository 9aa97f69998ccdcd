// SPDX-License-Identifier: GPL-2.0
//! The patch series of `tools/patch-series.sh`: it applies to a kernel's tree, and has every source
//! file of the modules.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};

use crate::files::files;

const SCRIPT: &str = "tools/patch-series.sh";
/// Where the series puts the project.
const PLACE: &str = "drivers/vfio/mdev/rust";
/// What the series is made from: files and folders.
const SOURCES: [&str; 6] = [
    "Kbuild",
    "Kconfig",
    "sdk",
    "drivers",
    "uapi",
    "Documentation",
];
/// Names of files and folders that stay in the project: cargo's, and what is about the lab.
const STAYS: [&str; 7] = [
    "tests",
    "proptest-regressions",
    "host.rs",
    "check-guide",
    "lab.md",
    "kernels.md",
    "reproducers",
];
/// What a series edits in a kernel's tree, as short as it can be.
const KERNEL: [(&str, &str); 4] = [
    (
        "Makefile",
        "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION =\n",
    ),
    (
        "drivers/vfio/mdev/Kconfig",
        "config VFIO_MDEV\n\ttristate\n",
    ),
    (
        "drivers/vfio/mdev/Makefile",
        "obj-$(CONFIG_VFIO_MDEV) += mdev.o\n",
    ),
    (
        "MAINTAINERS",
        "Maintainers List\n----------------\n\nA DRIVER\nS:\tMaintained\n\nVFIO DRIVER\n\
         S:\tMaintained\n\nTHE REST\nS:\tBuried alive in reporters\n",
    ),
];

/// Makes a series from `project` for a kernel's tree in the folder `work`, and applies it there.
pub fn check(project: &Path, work: &Path) -> Result<()> {
    if work.exists() {
        fs::remove_dir_all(work)?;
    }
    let (linux, series) = (work.join("linux"), work.join("series"));
    for (file, text) in KERNEL {
        let path = linux.join(file);
        fs::create_dir_all(path.parent().context("no file is the root")?)?;
        fs::write(path, text)?;
    }
    run(Command::new("sh")
        .arg(project.join(SCRIPT))
        .args([&linux, &series]))?;

    git(&linux, &["init", "--quiet"])?;
    git(&linux, &["add", "--all"])?;
    git(&linux, &["commit", "--quiet", "--message", "Linux"])?;
    let patches = files(&series, |_| true)?;
    let mut am = vec!["am", "--quiet", "--empty=drop", "--whitespace=error"];
    am.extend(patches.iter().filter_map(|path| path.to_str()));
    git(&linux, &am)?;

    let mut wrong = subjects(&git(
        &linux,
        &["log", "--format=%s|%(trailers:key=Signed-off-by)%x00"],
    )?);
    let wanted = wanted(project)?;
    ensure!(
        wanted.len() > 50,
        "{} source files are too few",
        wanted.len()
    );
    for file in &wanted {
        match fs::read(linux.join(PLACE).join(file)) {
            Ok(found) if found == fs::read(project.join(file))? => {}
            Ok(_) => wrong.push(format!("{} is another one in the series", file.display())),
            Err(_) => wrong.push(format!("{} is not in the series", file.display())),
        }
    }
    wrong.extend(unknown_options(
        &fs::read_to_string(project.join("Kbuild"))?,
        &fs::read_to_string(project.join("Kconfig"))?,
    ));
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// What is wrong with commits, of each its subject, a bar, its signatures and a zero byte. The last
/// one is the kernel's own.
fn subjects(log: &str) -> Vec<String> {
    let mut commits: Vec<&str> = log.split('\0').map(str::trim).collect();
    commits.retain(|commit| !commit.is_empty());
    commits.pop();
    let is_right = |commit: &&str| {
        let (subject, signed) = commit.split_once('|').unwrap_or_default();
        subject.contains(": ") && subject.len() <= 75 && !signed.is_empty()
    };
    let wrong = commits.into_iter().filter(|commit| !is_right(commit));
    wrong
        .map(|commit| format!("a patch is not signed off, or its subject not short: {commit}"))
        .collect()
}

/// The files that a series has to have, from `project` on.
fn wanted(project: &Path) -> Result<BTreeSet<PathBuf>> {
    let is_source = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let built = name.contains("_generated.") || name.ends_with(".mod.c");
        let extension = path.extension().and_then(OsStr::to_str);
        let is_known = matches!(extension, Some("rs" | "c" | "h" | "md" | "mk"));
        !built && (is_known || ["Kbuild", "Kconfig", "bindgen_parameters"].contains(&name))
    };
    let stays = |path: &Path| {
        path.iter()
            .any(|part| STAYS.iter().any(|name| part == *name))
    };
    let mut found = BTreeSet::new();
    for source in SOURCES {
        for path in files(&project.join(source), is_source)? {
            let path = path.strip_prefix(project)?;
            if !stays(path) {
                found.insert(path.to_owned());
            }
        }
    }
    Ok(found)
}

/// The options that a Kbuild file sets or asks for and a Kconfig file does not have.
fn unknown_options(kbuild: &str, kconfig: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = kbuild.split(|c| !is_part(c));
    let named: BTreeSet<&str> = words
        .filter_map(|word| word.strip_prefix("CONFIG_"))
        .collect();
    let known: BTreeSet<&str> = kconfig
        .lines()
        .filter_map(|line| line.strip_prefix("config "))
        .collect();
    named
        .symmetric_difference(&known)
        .map(|option| format!("{option} is in only one of Kbuild and Kconfig"))
        .collect()
}

/// What git prints, in a repository and without anybody's configuration.
fn git(repository: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .arg("-C")
        .arg(repository)
        .args(arguments);
    run(&mut command)
}

/// What a command prints, as somebody that git knows.
fn run(command: &mut Command) -> Result<String> {
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "mig-test")
            .env(format!("GIT_{who}_EMAIL"), "mig-test@example.org");
    }
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let output = command.output().context("git or sh cannot be started")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_its_subsystem_and_is_signed_off() {
        let right = "a: do|Signed-off-by: N <n@e>\n\0";
        assert_eq!(subjects(&format!("{right}Linux|\0")), Vec::<String>::new());
        for wrong in ["do|Signed-off-by: N <n@e>\n\0", "a: do|\0"] {
            assert_eq!(
                subjects(&format!("{right}{wrong}Linux|\0")).len(),
                1,
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_option_is_both_in_kbuild_and_in_kconfig() {
        let kbuild = "obj-$(CONFIG_A) += a/\n";
        assert_eq!(unknown_options(kbuild, "config A\n"), Vec::<String>::new());
        assert_eq!(unknown_options(kbuild, "config B\n").len(), 2);
    }
}
