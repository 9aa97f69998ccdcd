// SPDX-License-Identifier: GPL-2.0
//! Guests that are rebooted, migrated repeatedly, with bytes in the card, and between drivers.

use anyhow::{ensure, Result};
use mig_common::message::Counters;

use super::bed::{
    ensure_quiet, load, migrate_checked, skipped_without_v2, Bed, Checkpoint, Host, LINES, MTTY_C,
    MTTY_RS, MTTY_RS_COMPAT, ONE_PORT, ONE_PORT_COMPAT, TWO_PORTS,
};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;

/// The number of migrations of the ping-pong.
const LEGS: usize = 10;
/// Bytes left in each FIFO of 16 bytes.
const HELD: usize = 13;

/// Reboots the guest, which resets the device through VFIO_DEVICE_RESET.
pub fn reboot(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest");
    let mut host = bed.start_rebootable("guest", &MTTY_RS)?;
    host.vm.await_ready()?;
    host.vm.await_lines(LINES)?;
    let marked = Checkpoint::take(&mut host.vm)?;
    ensure!(
        marked.registers[0].scr != 0,
        "the guest has not marked its scratch register"
    );
    ctx.step("rebooting it");
    let found = host.vm.reboot()?;
    ensure!(
        found[0].scr == 0,
        "the reboot left the scratch register at {:#x}",
        found[0].scr
    );
    ensure!(
        found[0].divisor != marked.registers[0].divisor,
        "the reboot left the divisor"
    );
    host.vm.await_lines(LINES)?;
    Checkpoint::take(&mut host.vm)?.ensure_clean()?;
    ensure_quiet(&host)?;
    Ok(Outcome::Passed)
}

/// Migrates the guest back and forth between two devices.
pub fn ping_pong(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest");
    let mut here = bed.start("ping", &MTTY_RS, ONE_PORT, Role::Source)?;
    let mut there = bed.start("pong", &MTTY_RS, ONE_PORT, Role::Destination)?;
    here.vm.await_ready()?;
    for leg in 1..=LEGS {
        ctx.step(format!("migration {leg} of {LEGS}"));
        migrate_checked(&bed, &mut here, &mut there)?;
        ensure_quiet(&here)?;
        ensure_quiet(&there)?;
        if leg < LEGS {
            let Host { vm, cards } = here;
            drop(vm);
            let name = if leg % 2 == 1 { "ping" } else { "pong" };
            here = there;
            there = bed.start_with(name, cards, Role::Destination)?;
        } else {
            break;
        }
    }
    Ok(Outcome::Passed)
}

/// Checks that unread bytes in the FIFOs of a two-port card are received once and in order.
pub fn fifo_in_flight(ctx: &mut Ctx) -> Result<Outcome> {
    let bed = Bed::prepare(ctx)?;
    let (mut source, before) = bed.running_source(ctx, &[(MTTY_RS, TWO_PORTS)])?;
    let mut destination = bed.start("destination", &MTTY_RS, TWO_PORTS, Role::Destination)?;
    ensure!(
        before.counters.len() == 2,
        "the guest sees {} ports",
        before.counters.len()
    );
    source.vm.pause_guest()?;
    source.vm.hold(HELD)?;
    ensure_held(&source.vm.counters()?)?;
    ctx.step(format!("migrating with {HELD} bytes in each FIFO"));
    let socket = bed.socket("migration");
    migration::migrate(&mut source.vm, &mut destination.vm, &socket)?;
    ensure_held(&destination.vm.counters()?)?;
    destination.vm.release()?;
    destination.vm.resume_guest()?;
    Checkpoint::check(&mut destination, &before)?;
    ensure_quiet(&source)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}

/// Requires that each port has the held bytes of the guest and has returned none of them.
fn ensure_held(counters: &[Counters]) -> Result<()> {
    let held = |port: &Counters| port.written - port.read == HELD as u64;
    ensure!(
        counters.iter().all(held),
        "there are not {HELD} bytes in each FIFO: {counters:?}"
    );
    Ok(())
}

/// Migrates a running guest from mainline's driver to this project's driver and back.
pub fn mainline_and_back(ctx: &mut Ctx) -> Result<Outcome> {
    if let Some(skipped) = skipped_without_v2(ctx) {
        return Ok(skipped);
    }
    load(MTTY_C.module)?;
    load(MTTY_RS_COMPAT.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest on mainline's mtty");
    let mut c = bed.start("c", &MTTY_C, ONE_PORT, Role::Source)?;
    c.vm.await_ready()?;
    let compat = ONE_PORT_COMPAT;
    let mut rust = bed.start("rust", &MTTY_RS_COMPAT, compat, Role::Destination)?;
    ctx.step("migrating it to mtty_rs");
    migrate_checked(&bed, &mut c, &mut rust)?;
    let mut back = bed.start("back", &MTTY_C, ONE_PORT, Role::Destination)?;
    ctx.step("migrating it back");
    migrate_checked(&bed, &mut rust, &mut back)?;
    ensure_quiet(&rust)?;
    Ok(Outcome::Passed)
}
