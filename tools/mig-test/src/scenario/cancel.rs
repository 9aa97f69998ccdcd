// SPDX-License-Identifier: GPL-2.0
//! Migrations that are cancelled in each phase: the guest goes on where it is, and can still leave.

use anyhow::Result;

use super::bed::{
    ensure_device_quiet, ensure_quiet, load, migrate_checked, Bed, Checkpoint, LINES, MTTY_RS,
    ONE_PORT,
};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration::{self, Stop};
use crate::qemu::vm::Role;

/// So slow that a migration does not end by itself, in bytes a second.
const CRAWL: u64 = 1 << 20;
/// So fast that it is no limit.
const UNLIMITED: u64 = 1 << 40;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest");
    let mut source = bed.start("source", &MTTY_RS, ONE_PORT, Role::Source)?;
    source.vm.await_ready()?;
    source.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut source.vm)?;

    let phases = [
        ("setup", CRAWL, Stop::Never),
        ("active", CRAWL, Stop::Never),
        ("pre-switchover", UNLIMITED, Stop::BeforeSwitchover),
    ];
    for (phase, bandwidth, stop) in phases {
        ctx.step(format!("cancelling in phase \"{phase}\""));
        let socket = bed.socket(phase);
        let mut destination = bed.start(phase, &MTTY_RS, ONE_PORT, Role::Destination)?;
        migration::listen(&mut destination.vm, &socket)?;
        migration::limit_bandwidth(&mut source.vm, bandwidth)?;
        migration::start(&mut source.vm, &socket, stop)?;
        migration::await_status(&mut source.vm, phase)?;
        migration::cancel(&mut source.vm)?;
        Checkpoint::check(&mut source.vm, &before)?;
        ensure_device_quiet(&source)?;
    }
    ctx.step("migrating without cancelling");
    let mut destination = bed.start("destination", &MTTY_RS, ONE_PORT, Role::Destination)?;
    migrate_checked(&bed, &mut source, &mut destination)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}
