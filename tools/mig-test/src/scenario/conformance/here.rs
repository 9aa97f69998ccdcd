// SPDX-License-Identifier: GPL-2.0
//! `mig-test conform --here`, as it is typed on a machine that has mdevs: the lab VM is one.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};

use super::checks::Checks;
use super::source::Source;
use crate::event::Outcome;
use crate::scenario::{load, Ctx};

/// Types of a driver that keeps the rules, and of one that does not.
const SOUND: &str = "mtty_rs/mtty-1";
const VIOLATING: &str = "mtty/mtty-1";
/// Rules that the first one keeps, and one that the second one does not.
const KEPT: &str = "reset";
const VIOLATED: &str = "uapi.info";

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    for module in ["vfio_iommu_type1", "mtty_rs", "mtty"] {
        load(module)?;
    }
    let mut checks = Checks::default();

    ctx.step("an existing device");
    let device = Source::Type(SOUND.into()).target(ctx)?;
    let folder = device.path().to_string_lossy();
    let output = conform(&["--device", &folder, "--rule", KEPT, "--format", "ktap"])?;
    checks.equal("its exit code", output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    checks.that(
        format!("its verdicts are KTAP: {text}"),
        text.starts_with("KTAP version 1\n") && !text.contains("not ok"),
    );
    checks.that("the device is still there", device.path().exists());

    ctx.step("a device of a type, which violates rules");
    let output = conform(&["--mdev", VIOLATING, "--rule", VIOLATED])?;
    checks.equal("its exit code", output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    checks.that(
        format!("its verdicts name the rule: {text}"),
        text.contains("FAIL") && text.contains(VIOLATED),
    );
    let left = Path::new("/sys/bus/mdev/devices").read_dir()?.count();
    checks.equal("devices that are left", left, 1);

    ctx.step("what is not there");
    for missing in [
        ["--device", "/sys/bus/mdev/devices/none"],
        ["--mdev", "mtty/mtty-3"],
    ] {
        let output = conform(&missing)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        checks.equal("its exit code", output.status.code(), Some(2));
        checks.that(
            format!("the message names {}: {text}", missing[1]),
            text.contains(missing[1]),
        );
    }
    Ok(checks.outcome())
}

fn conform(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["conform", "--here"]).args(arguments);
    command.output().context("mig-test conform --here")
}
