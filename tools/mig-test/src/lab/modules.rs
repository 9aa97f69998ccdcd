// SPDX-License-Identifier: GPL-2.0
//! Builds the project's modules and mainline's C mtty for a kernel of the lab. Nothing is built
//! again from the same sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::apart::{Apart, OURS, TESTS};
use super::chroot::{place, Chroot};
use super::stamp::{Results, Stamp};
use super::{cache, task, Kernel, Lab};
use crate::progress::Progress;

/// A goal of the kernel's build system.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The modules, incrementally.
    Modules,
    /// The modules, from scratch, so that every warning is seen.
    Fresh,
    /// clippy on the modules, from scratch.
    Clippy,
    /// A description of the crates for an editor.
    Analyzer,
}

/// Builds the project's modules. Returns the warnings.
pub fn build(lab: &Lab, kernel: Kernel, goal: Goal) -> Result<Vec<String>> {
    let (what, folder) = match goal {
        Goal::Modules => ("building the kernel modules", "kmod"),
        Goal::Fresh => ("building the kernel modules from scratch", "kmod"),
        Goal::Clippy => ("running clippy on the kernel modules", "kmod-clippy"),
        Goal::Analyzer => ("describing the kernel side", "kmod"),
    };
    let folder = format!("{folder}{}", lab.suffix(kernel));
    let out = lab.target.join(&folder);
    let results = results(lab, &folder);
    let stamp = source_stamp(lab, kernel)?;
    if goal == Goal::Modules && results.are_of(&stamp) {
        return Ok(Vec::new());
    }
    let progress = Progress::start(what);
    if matches!(goal, Goal::Fresh | Goal::Clippy) {
        cache::remove(&out)?;
    }
    let was_clean = !out.exists() || results.are_clean();
    results.forget()?;
    fs::create_dir_all(&out)?;
    let chroot = enter(lab, kernel)
        .reading(&lab.project, place::SOURCE)
        .writing(&out, place::OUT);
    let mut make = kmake(&chroot, kernel);
    make.args([format!("M={}", place::SOURCE), format!("MO={}", place::OUT)]);
    if goal == Goal::Clippy {
        make.arg("CLIPPY=1");
    }
    make.arg(if goal == Goal::Analyzer {
        "rust-analyzer"
    } else {
        "modules"
    });
    let output = task::run(
        what,
        make,
        &lab.target.join(format!("{folder}.log")),
        &progress,
    )
    .map_err(|error| anyhow::anyhow!(in_project(&format!("{error:#}"))))?;
    progress.done();
    let warnings = warnings(&output);
    if goal != Goal::Analyzer && warnings.is_empty() {
        results.set(&stamp, was_clean)?;
    }
    Ok(warnings)
}

/// Builds the modules and those of the tests, where they are not built yet. Any warning is an
/// error, also one of a file that an earlier build has compiled.
pub fn without_warnings(lab: &Lab, kernel: Kernel) -> Result<()> {
    let results = results(lab, &format!("kmod{}", lab.suffix(kernel)));
    if !(results.are_of(&source_stamp(lab, kernel)?) && results.are_clean()) {
        deny(&build(lab, kernel, Goal::Fresh)?)?;
    }
    build_ours(lab, kernel, &TESTS, Goal::Modules)
}

/// Builds what separate trees are built against, or checked against by clippy, unless it is there.
pub fn ensure(lab: &Lab, kernel: Kernel, goal: Goal) -> Result<()> {
    if goal != Goal::Clippy {
        return build(lab, kernel, Goal::Modules).map(drop);
    }
    let folder = format!("kmod-clippy{}", lab.suffix(kernel));
    match results(lab, &folder).are_of(&source_stamp(lab, kernel)?) {
        true => Ok(()),
        false => deny(&build(lab, kernel, goal)?),
    }
}

/// Returns those of [`OURS`] whose build is up to date, also with the project's modules.
pub fn current(lab: &Lab, kernel: Kernel) -> Result<Vec<Apart<'static>>> {
    let mut found = Vec::new();
    for apart in OURS {
        let name = format!("{}{}", apart.folder, lab.suffix(kernel));
        if results(lab, &name).are_of(&apart_stamp(lab, kernel, &apart)?) {
            found.push(apart);
        }
    }
    Ok(found)
}

/// Builds this project's separate trees, or runs clippy on them. Any warning is an error.
pub fn build_ours(lab: &Lab, kernel: Kernel, apart: &Apart, goal: Goal) -> Result<()> {
    if goal == Goal::Clippy {
        return deny(&build_apart(lab, kernel, apart, goal)?);
    }
    let results = results(lab, &format!("{}{}", apart.folder, lab.suffix(kernel)));
    let stamp = apart_stamp(lab, kernel, apart)?;
    if goal == Goal::Modules && results.are_of(&stamp) {
        return Ok(());
    }
    results.forget()?;
    deny(&build_apart(lab, kernel, apart, goal)?)?;
    results.set(&stamp, true)
}

/// Builds modules of another tree against the project's built modules, or runs clippy on them.
/// Returns the warnings. Builds from scratch, because make does not detect changes of the crates
/// that they use.
pub fn build_apart(lab: &Lab, kernel: Kernel, apart: &Apart, goal: Goal) -> Result<Vec<String>> {
    let progress = Progress::start(apart.what);
    let suffix = match goal {
        Goal::Clippy => format!("-clippy{}", lab.suffix(kernel)),
        _ => lab.suffix(kernel),
    };
    let name = format!("{}{suffix}", apart.folder);
    let out = lab.target.join(&name);
    cache::remove(&out)?;
    fs::create_dir_all(&out)?;
    let chroot = enter(lab, kernel)
        .reading(&lab.project, place::SOURCE)
        .reading(&lab.project.join(apart.source), place::DRIVER)
        .writing(&lab.target, place::OUT);
    let mut make = kmake(&chroot, kernel);
    make.args([
        format!("M={}", place::DRIVER),
        format!("MO={}/{name}", place::OUT),
        format!("SDK={}", place::SOURCE),
        format!("SDK_OUT={}/kmod{suffix}", place::OUT),
        "modules".into(),
    ]);
    if goal == Goal::Clippy {
        make.arg("CLIPPY=1");
    }
    let log = lab.target.join(format!("{name}.log"));
    let in_tree = |text: &str| text.replace(place::DRIVER, apart.source);
    let output = task::run(apart.what, make, &log, &progress)
        .map_err(|error| anyhow::anyhow!(in_tree(&format!("{error:#}"))))?;
    progress.done();
    Ok(warnings(&in_tree(&output)))
}

/// Returns the stamp of the sources of the project's modules.
fn source_stamp(lab: &Lab, kernel: Kernel) -> Result<String> {
    let mut stamp = Stamp::default();
    stamp.bytes(&instance(lab, kernel));
    stamp.bytes(kernel.compiler().as_bytes());
    for source in ["Kbuild", "sdk", "drivers", "uapi"] {
        stamp.path(&lab.project.join(source))?;
    }
    Ok(stamp.finish())
}

/// Returns the stamp of the sources of a separate tree: its own, and the visible part of the SDK.
fn apart_stamp(lab: &Lab, kernel: Kernel, apart: &Apart) -> Result<String> {
    let mut stamp = Stamp::default();
    stamp.bytes(source_stamp(lab, kernel)?.as_bytes());
    stamp.path(&lab.project.join(apart.source))?;
    Ok(stamp.finish())
}

/// Returns a folder that modules are built in.
fn results(lab: &Lab, folder: &str) -> Results {
    Results::new(&lab.target, folder)
}

/// Returns the folder that mainline's C mtty is built in.
pub const PEER: &str = "kmod-c";

/// Builds mainline's C mtty, a peer for the benchmarks.
pub fn build_c_peer(lab: &Lab, kernel: Kernel) -> Result<()> {
    let folder = format!("{PEER}{}", lab.suffix(kernel));
    let out = lab.target.join(&folder);
    let instance = instance(lab, kernel);
    if out.join("mtty.ko").exists()
        && fs::read(out.join("instance")).ok().as_ref() == Some(&instance)
    {
        return Ok(());
    }
    let what = "building mainline's C mtty";
    let progress = Progress::start(what);
    cache::remove(&out)?;
    fs::create_dir_all(&out)?;
    let source = lab
        .components
        .ready(kernel.tree())
        .path
        .join("source/samples/vfio-mdev/mtty.c");
    fs::copy(&source, out.join("mtty.c")).with_context(|| source.display().to_string())?;
    fs::write(out.join("Kbuild"), "obj-m := mtty.o\n")?;
    let chroot = enter(lab, kernel).writing(&out, place::OUT);
    let mut make = kmake(&chroot, kernel);
    make.args([&format!("M={}", place::OUT), "modules"]);
    let log = lab.target.join(format!("{folder}.log"));
    task::run(what, make, &log, &progress)?;
    fs::write(out.join("instance"), instance)?;
    progress.done();
    Ok(())
}

/// Returns the root with the compilers for a kernel, and the kernel's build tree.
pub(super) fn enter(lab: &Lab, kernel: Kernel) -> Chroot {
    let toolchain = lab.components.ready(kernel.toolchain());
    let tree = lab.components.ready(kernel.tree());
    Chroot::new(&toolchain.path).reading(&tree.path, place::KBUILD)
}

pub(super) fn kmake(chroot: &Chroot, kernel: Kernel) -> std::process::Command {
    let mut make = chroot.command("make");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    make.arg(format!("-j{jobs}")).args([
        "-C",
        &format!("{}/build", place::KBUILD),
        &kernel.compiler(),
    ]);
    make
}

/// Returns the name of the build tree that modules are built with.
fn instance(lab: &Lab, kernel: Kernel) -> Vec<u8> {
    let tree = lab.components.ready(kernel.tree());
    tree.instance().as_bytes().to_vec()
}

/// Returns every module below `folder`, sorted.
pub fn built(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            // Kbuild may leave links to the source there.
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ko") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the lines with warnings, with the project's own paths.
fn warnings(output: &str) -> Vec<String> {
    let warns = |line: &&str| line.contains("warning:") || line.contains("WARNING:");
    output.lines().filter(warns).map(in_project).collect()
}

/// Returns a message of the build with the paths of the host.
pub(super) fn in_project(text: &str) -> String {
    text.replace(&format!("{}/", place::SOURCE), "")
}

/// Builds the modules and those of the tests from scratch. Any warning is an error.
pub fn strict(lab: &Lab, kernel: Kernel, goal: Goal) -> Result<()> {
    deny(&build(lab, kernel, goal)?)?;
    build_ours(lab, kernel, &TESTS, goal)
}

/// Refuses warnings.
pub(super) fn deny(warnings: &[String]) -> Result<()> {
    ensure!(
        warnings.is_empty(),
        "the modules do not build cleanly:\n{}",
        warnings.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_from_other_output_and_name_files_of_the_project() {
        let output = "  RUSTC [M] a.o\nwarning: unused variable: `x`\n\
                      /opt/source/sdk/kernel/helpers.c:1:2: warning: unused\nerror: no\n\
                      WARNING: modpost: missing MODULE_DESCRIPTION()";
        assert_eq!(
            warnings(output),
            [
                "warning: unused variable: `x`",
                "sdk/kernel/helpers.c:1:2: warning: unused",
                "WARNING: modpost: missing MODULE_DESCRIPTION()"
            ]
        );
    }

    #[test]
    fn one_warning_is_too_many() {
        assert!(deny(&[]).is_ok());
        let error = deny(&["warning: x".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the modules do not build cleanly:\nwarning: x"
        );
    }

    #[test]
    fn modules_are_found_in_folders_and_missing_folders_have_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("drivers/x")).unwrap();
        for file in ["b.ko", "drivers/x/a.ko", "drivers/x/a.o"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let found = built(folder.path()).unwrap();
        assert_eq!(
            found,
            [
                folder.path().join("b.ko"),
                folder.path().join("drivers/x/a.ko")
            ]
        );
        assert!(built(&folder.path().join("none")).unwrap().is_empty());
    }
}
