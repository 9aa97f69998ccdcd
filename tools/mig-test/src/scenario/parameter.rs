// SPDX-License-Identifier: GPL-2.0
//! The SDK's module parameter, which selects the migration protocols that devices offer.

use std::fs;

use anyhow::{Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::VFIO_PCI_NUM_REGIONS;

use super::bed::{load, load_with, unload, MTTY_RS, ONE_PORT};
use super::conformance::checks::Checks;
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::vfio::device::Device;

/// The module, and the file of its parameter in sysfs.
const MODULE: &str = "mdev_sdk";
const SHOWN: &str = "/sys/module/mdev_sdk/parameters/migration";

/// A value of the parameter, and the protocols that devices then offer.
const VALUES: [(&str, bool, bool); 4] = [
    ("both", true, true),
    ("v1", true, false),
    ("v2", false, true),
    ("off", false, false),
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    let mut checks = Checks::default();
    let _modules = Modules;
    for (value, v1, v2) in VALUES {
        ctx.step(format!("migration={value}"));
        unload_all()?;
        load_with(MODULE, &[&format!("migration={value}")])?;
        checks.equal(format!("{SHOWN} of {value}"), shown()?.as_str(), value);
        let written = fs::write(SHOWN, "both");
        checks.that(format!("{value} can be changed"), written.is_err());
        offers(&mut checks, value, v1, v2)?;
    }
    ctx.step("values that are none");
    for value in ["migration=", "migration=3", "migration=V1", "migration"] {
        unload_all()?;
        let refused = load_with(MODULE, &[value]);
        checks.that(format!("{value} is taken"), refused.is_err());
    }
    ctx.step("without a value");
    unload_all()?;
    load(MTTY_RS.module)?;
    checks.equal("the default", shown()?.as_str(), "both");
    Ok(checks.outcome())
}

fn shown() -> Result<String> {
    let text = fs::read_to_string(SHOWN).context(SHOWN)?;
    Ok(text.trim().to_owned())
}

/// The modules as loaded by this scenario. Its drop unloads them, so that the next scenario loads
/// them with the default.
struct Modules;

impl Drop for Modules {
    fn drop(&mut self) {
        // One that stays is in use, by a device that is reported as left over.
        let _ = unload_all();
    }
}

/// Unloads every module that uses the SDK, whichever scenario has loaded it, and the SDK with the
/// last one.
fn unload_all() -> Result<()> {
    let users = fs::read_dir(format!("/sys/module/{MODULE}/holders"));
    for user in users.into_iter().flatten() {
        unload(&user?.file_name().to_string_lossy())?;
    }
    if fs::exists(format!("/sys/module/{MODULE}"))? {
        unload(MODULE)?;
    }
    Ok(())
}

/// Returns the protocols that a new device offers.
fn offers(checks: &mut Checks, value: &str, v1: bool, v2: bool) -> Result<()> {
    load(MTTY_RS.module)?;
    let mdev = MdevType::find(MTTY_RS.parent, ONE_PORT)?.create()?;
    let device = Device::open(mdev.path())?;
    let regions = VFIO_PCI_NUM_REGIONS + u32::from(v1);
    checks.equal(
        format!("regions of {value}"),
        device.info(None)?.regions,
        regions,
    );
    let found = device.migration_region()?.is_some();
    checks.equal(format!("v1 of {value}"), found, v1);
    let beyond = device.region(regions, None).err();
    checks.equal(
        format!("a region more of {value}"),
        beyond,
        Some(Errno::INVAL),
    );
    let flags = device.migration_flags().err();
    let wanted = (!v2).then_some(Errno::NOTTY);
    checks.equal(format!("v2 of {value}"), flags, wanted);
    checks.equal(format!("state of {value}"), device.state().err(), wanted);
    Ok(())
}
