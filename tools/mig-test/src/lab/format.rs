// SPDX-License-Identifier: GPL-2.0
//! Checks the formatting of all Rust in the project with the lab's rustfmt, so that the result is
//! the same on every machine.

use std::fs;

use anyhow::{ensure, Context, Result};

use super::chroot::{place, Chroot};
use super::{task, Lab};
use crate::progress::Progress;

/// Returns an error if rustfmt would change a file, or the settings are not the kernel's.
pub fn check(lab: &Lab) -> Result<()> {
    let progress = Progress::start("checking the format of all Rust");
    let kernel = lab
        .components
        .ready(lab.default_kernel().tree())
        .path
        .join("source/.rustfmt.toml");
    let read = |path: &std::path::Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (theirs, ours) = (read(&kernel)?, read(&lab.project.join("rustfmt.toml"))?);
    ensure!(
        settings(&theirs) == settings(&ours),
        "rustfmt.toml differs from the kernel's settings"
    );

    let root = &lab.components.ready("root").path;
    let chroot = Chroot::new(root).reading(&lab.project, place::SOURCE);
    let script = chroot.script(include_str!("scripts/check-format.sh"));
    task::run(
        "checking the format (cargo fmt, or rustfmt on the file, mends it)",
        script,
        &lab.work.join("rustfmt.log"),
        &progress,
    )?;
    progress.done();
    Ok(())
}

/// Returns the lines with settings.
fn settings(text: &str) -> Vec<&str> {
    let set = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().map(str::trim).filter(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_settings() {
        assert_eq!(
            settings("# SPDX\nedition = \"2021\"\n\n#a = 1\n"),
            ["edition = \"2021\""]
        );
    }
}
