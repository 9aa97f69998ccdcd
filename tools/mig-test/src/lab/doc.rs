// SPDX-License-Identifier: GPL-2.0
//! The documentation of the SDK and of the model, by the rustdoc of the lab, and the examples in
//! it. `sdk/kernel/Kbuild` has the rules: only Kbuild knows the flags that the crates need.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{anyhow, Result};

use super::chroot::{place, Chroot};
use super::modules::{self, Goal};
use super::{cache, run_logged, task, Kernel, Lab};
use crate::progress::Progress;

/// Writes the documentation from scratch; fails on any warning. Returns the page to begin with.
pub fn write(lab: &Lab, kernel: Kernel) -> Result<PathBuf> {
    modules::build(lab, kernel, Goal::Modules)?;
    let doc = lab.target.join("doc");
    cache::remove(&doc)?;
    fs::create_dir_all(&doc)?;
    let chroot = enter(lab, kernel).writing(&doc, place::DOC);
    let make = make(&chroot, kernel, &format!("MDEV_DOC={}", place::DOC));
    let what = "writing the documentation";
    let progress = Progress::start(what);
    task::run(what, make, &lab.work.join("doc.log"), &progress)
        .map_err(|error| anyhow!(modules::in_project(&format!("{error:#}"))))?;
    progress.done();
    Ok(doc.join("mdev_sdk/index.html"))
}

/// Compiles the examples in the comments of the SDK. Returns whether all of them did, and what
/// rustdoc says of each.
pub fn examples(lab: &Lab, kernel: Kernel) -> Result<(bool, String)> {
    modules::build(lab, kernel, Goal::Modules)?;
    let make = make(&enter(lab, kernel), kernel, "MDEV_DOCTEST=y");
    let (ok, output) = run_logged(lab, "compiling the examples", "doctest", make)?;
    Ok((ok, modules::in_project(&output)))
}

/// The root for a kernel, with the modules as they are built: rustdoc reads the crates' metadata.
fn enter(lab: &Lab, kernel: Kernel) -> Chroot {
    let out = lab.target.join(format!("kmod{}", lab.suffix(kernel)));
    modules::enter(lab, kernel)
        .reading(&lab.project, place::SOURCE)
        .writing(&out, place::OUT)
}

/// Kbuild in the SDK's folder, with a variable of its Kbuild file.
fn make(chroot: &Chroot, kernel: Kernel, variable: &str) -> Command {
    let mut make = modules::kmake(chroot, kernel);
    make.args([format!("M={}", place::SOURCE), format!("MO={}", place::OUT)]);
    make.args([variable, "sdk/kernel/"]);
    make
}

/// The part of rustdoc's output that says which examples do not compile, and why; all of it if none
/// was tried.
pub fn failures(output: &str) -> &str {
    const HEAD: &str = "\nfailures:\n";
    let Some((_, rest)) = output.split_once(HEAD) else {
        return output.trim();
    };
    let (reasons, _list) = rest.split_once(HEAD).unwrap_or((rest, ""));
    reasons.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_examples_only_those_that_do_not_compile_are_told() {
        let reason = "---- sdk/kernel/a.rs - a::A (line 3) stdout ----\nerror: no\n --> \
                      sdk/kernel/a.rs:5:1";
        let output = format!(
            "test sdk/kernel/b.rs - b::B (line 1) - compile ... ok\n\nfailures:\n\n{reason}\n\n\
             failures:\n    sdk/kernel/a.rs - a::A (line 3)\n\ntest result: FAILED.\n"
        );
        assert_eq!(failures(&output), reason);
    }

    #[test]
    fn without_a_list_of_failures_everything_is_told() {
        assert_eq!(failures("error: no such file\n"), "error: no such file");
    }
}
