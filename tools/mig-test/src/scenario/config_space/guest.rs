// SPDX-License-Identifier: GPL-2.0
//! An express device behind a port of a guest's PCI Express: the guest reads its extended space,
//! resets the function, and finds what it has written there after a migration.

use anyhow::Result;

use super::card::MODULE;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;
use crate::scenario::bed::{ensure_quiet, load, Bed, Driver};
use crate::scenario::Ctx;

const EXPRESS: Driver = Driver {
    module: MODULE,
    parent: MODULE,
    properties: "",
    guest: "mig_config=1",
    has_port: true,
};

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load(MODULE)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest");
    let mut source = bed.start("source", &EXPRESS, "config_rs-express", Role::Source)?;
    source.vm.await_ready()?;
    ctx.step("migrating it");
    let mut destination = bed.start(
        "destination",
        &EXPRESS,
        "config_rs-express",
        Role::Destination,
    )?;
    let socket = bed.socket("migration");
    migration::migrate(&mut source.vm, &mut destination.vm, &socket)?;
    ctx.step("what the guest finds there");
    destination.vm.config()?;
    ensure_quiet(&source)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}
