// SPDX-License-Identifier: GPL-2.0
//! One live migration of a running guest, with figures: ours, and mainline's C driver beside it.

use anyhow::Result;

use super::bed::{
    kernel_release, load, skipped_without_v2, Bed, Checkpoint, Driver, MTTY_C, MTTY_RS, ONE_PORT,
};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;
use crate::report;

/// Lines that have to pass before the migration, and again after it.
const LINES: u64 = 24;

/// Migrates a guest with a device of mtty_rs.
pub fn demo(ctx: &mut Ctx) -> Result<Outcome> {
    let report = migrate(ctx, &MTTY_RS)?;
    let verdict = judge(&report, true);
    ctx.report(&report)?;
    Ok(verdict)
}

/// The same with a device of mainline's mtty. What that driver makes QEMU print is reported, not
/// judged.
pub fn mtty_c_baseline(ctx: &mut Ctx) -> Result<Outcome> {
    if let Some(skipped) = skipped_without_v2(ctx) {
        return Ok(skipped);
    }
    let report = migrate(ctx, &MTTY_C)?;
    let verdict = judge(&report, false);
    ctx.report(&report)?;
    Ok(verdict)
}

fn migrate(ctx: &mut Ctx, driver: &Driver) -> Result<report::Migration> {
    ctx.step(format!("loading {}", driver.module));
    load(driver.module)?;
    let bed = Bed::prepare(ctx)?;

    ctx.step("starting the source, booting its guest");
    let mut source = bed.start("source", driver, ONE_PORT, Role::Source)?;
    source.vm.await_ready()?;
    source.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut source.vm)?;

    ctx.step("starting the destination");
    let mut destination = bed.start("destination", driver, ONE_PORT, Role::Destination)?;
    ctx.step("migrating the running guest");
    source.vm.await_lines(1)?;
    let socket = bed.socket("migration");
    let figures = migration::migrate(&mut source.vm, &mut destination.vm, &socket)?;

    ctx.step("checking the guest's data on the destination");
    destination.vm.await_lines(LINES)?;
    let after = Checkpoint::take(&mut destination.vm)?;

    let unaccounted = after
        .sum(|c| c.written)
        .saturating_sub(after.sum(|c| c.read));
    let lines_before = before.sum(|c| c.lines);
    let mut qemu_complaints = source.vm.complaints();
    qemu_complaints.extend(destination.vm.complaints());
    Ok(report::Migration {
        device: driver.module.to_owned(),
        total_ms: figures.total_ms,
        downtime_ms: figures.downtime_ms,
        setup_ms: figures.setup_ms,
        device_bytes: figures.device_bytes,
        bytes_lost: after.sum(|c| c.lost).max(unaccounted),
        bytes_repeated: after.sum(|c| c.repeated),
        bytes_corrupt: after.sum(|c| c.corrupt),
        registers_equal: after.registers == before.registers,
        lines_before,
        lines_after: after.sum(|c| c.lines) - lines_before,
        kernel: kernel_release()?,
        qemu: source.vm.version.clone(),
        qemu_complaints,
    })
}

fn judge(report: &report::Migration, complaints_count: bool) -> Outcome {
    let damage = report.bytes_lost + report.bytes_repeated + report.bytes_corrupt;
    let reason = if damage > 0 {
        "the guest's data did not come through".to_owned()
    } else if !report.registers_equal {
        "the guest sees other registers than before the migration".to_owned()
    } else if complaints_count && !report.qemu_complaints.is_empty() {
        format!("QEMU complains: {}", report.qemu_complaints.join(" | "))
    } else {
        return Outcome::Passed;
    };
    Outcome::Failed { reason }
}
