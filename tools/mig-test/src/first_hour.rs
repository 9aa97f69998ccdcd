// SPDX-License-Identifier: GPL-2.0
//! The first hour of a driver's author, as the vendor guide has it: from an empty folder to a guest
//! that migrates, by three commands, typed as an author types them.

use std::fs;
use std::process::Command;

use anyhow::{bail, ensure, Result};

use crate::lab::modules::{self, Goal};
use crate::lab::{run_logged, Lab};

/// The driver's name.
const NAME: &str = "my_card";
/// The commands, and what the last lines of each must have.
const COMMANDS: [(&[&str], &str); 5] = [
    (&["new", NAME], "is a driver that migrates"),
    (&["conform", "--module", NAME], "\n0 of "),
    (&["migrate", "--module", NAME], "own-device: done"),
    // What its README names besides.
    (&["lab", "build", "--module", NAME], "my_card.ko"),
    (
        &["lab", "rust-analyzer", "--module", NAME],
        "rust-project.json",
    ),
];

/// Makes a driver in an empty folder, checks it, migrates a guest with it, and runs its tests.
pub fn check(lab: &Lab) -> Result<()> {
    let folder = lab.target.join("first-hour");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("target"))?;
    // The SDK, as an author has built it before; it has no stamp if something in it warns.
    modules::build(lab, lab.default_kernel(), Goal::Modules)?;
    let built = ["kmod", "kmod.stamp"].map(|name| lab.target.join(name));
    let mut command = Command::new("cp");
    command.arg("-a");
    command.args(built.iter().filter(|path| path.exists()));
    command.arg(folder.join("target"));
    let (ok, output) = run_logged(lab, "copying the SDK", "first-hour", command)?;
    ensure!(ok, "copying the SDK: {}", output.trim());
    for (arguments, wanted) in COMMANDS {
        // What runs now, even if cargo has put another one in its place.
        let mut command = Command::new("/proc/self/exe");
        // A target folder of its own, because scenarios run beside it in this one.
        command
            .args(arguments)
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target"));
        let what = format!("mig-test {}", arguments.join(" "));
        let (ok, output) = run_logged(lab, &what, "first-hour", command)?;
        let output = output.trim();
        ensure!(ok, "{what}: {output}");
        if !output.contains(wanted) {
            bail!("{what} does not say {wanted:?} but: {output}");
        }
    }
    let mut command = Command::new("cargo");
    command
        .args(["test", "--quiet", "--color", "never"])
        .current_dir(folder.join(NAME))
        .env_remove("CARGO_TARGET_DIR");
    let (ok, output) = run_logged(lab, "cargo test in the new driver", "first-hour", command)?;
    ensure!(ok, "cargo test in {NAME}: {}", output.trim());
    Ok(())
}
