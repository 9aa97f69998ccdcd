// SPDX-License-Identifier: GPL-2.0
//! The toy GPU behind its guest's own IOMMU, which takes all memory from it and gives it back after
//! each of some batches of commands during pre-copy.
//!
//! QEMU does not ask for dirty pages meanwhile, so it knows from the calls alone that take the
//! memory away what the GPU has written. A page of which none of them tells stays behind, and the
//! guest finds its older value.

use anyhow::{ensure, Result};
use serde::Serialize;

use super::guest::{commands_left, ensure_whole, BATCHES};
use super::random::seed;
use super::unmap_calls::UnmapCalls;
use crate::event::Outcome;
use crate::qemu::migration::{self, Stop, UNLIMITED};
use crate::qemu::vm::Role;
use crate::scenario::bed::{ensure_quiet, load, Bed, MGPU_16, MGPU_RS};
use crate::scenario::Ctx;

/// So fast that all of the guest's memory is sent within seconds, in bytes a second.
const WALK: u64 = 8 << 20;
/// So slow that what got dirty in those seconds keeps QEMU busy, and it does not look for more.
const CREEP: u64 = 32 << 10;
/// So short and so long a downtime that a migration does not end by itself, and that it does, in
/// milliseconds.
const DOWNTIMES: (u64, u64) = (1, 1000);

/// What has come of the migration.
#[derive(Serialize)]
struct Report {
    total_ms: u64,
    downtime_ms: u64,
    /// Calls during pre-copy that took all of the guest's memory away.
    unmaps_with_bitmap: usize,
    commands_carried: u32,
    pages_checked: u64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    if !ctx.qemu.migrates_behind_iommu() {
        return Ok(Outcome::Skipped {
            reason: format!(
                "QEMU {} is not known to migrate a VFIO device behind an IOMMU of the guest",
                ctx.qemu.series()
            ),
        });
    }
    load(MGPU_RS.module)?;
    let bed = Bed::prepare_with_iommu(ctx)?;
    let seed = seed(ctx)?;
    ctx.step("booting the guest");
    let mut source = bed.start("source", &MGPU_RS, MGPU_16, Role::Source)?;
    let mut destination = bed.start("destination", &MGPU_RS, MGPU_16, Role::Destination)?;
    source.vm.await_ready()?;
    source.vm.gpu_work(seed)?;
    source.vm.gpu_batches(BATCHES)?;

    ctx.step("working through pre-copy");
    let Some(calls) = UnmapCalls::watch()? else {
        return Ok(Outcome::Skipped {
            reason: "this kernel has no CONFIG_KPROBE_EVENTS, so calls cannot be counted".into(),
        });
    };
    let socket = bed.socket("migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::limit_bandwidth(&mut source.vm, WALK)?;
    migration::limit_downtime(&mut source.vm, DOWNTIMES.0)?;
    migration::start(&mut source.vm, &socket, Stop::Never)?;
    // Every page was sent once; of those that are written from here on QEMU has to be told.
    migration::await_pass(&mut source.vm, 2)?;
    migration::limit_bandwidth(&mut source.vm, CREEP)?;
    // QEMU must not look for dirty pages before this is over (Documentation/qemu.md).
    let syncs = migration::dirty_syncs(&mut source.vm)?;
    source.vm.gpu_renew(BATCHES)?;
    ensure!(
        migration::dirty_syncs(&mut source.vm)? == syncs,
        "QEMU has asked for dirty pages meanwhile, so nothing is shown"
    );
    let unmaps = calls.count()?;
    ensure!(
        unmaps as u64 >= BATCHES,
        "during {BATCHES} batches QEMU has taken the guest's memory away {unmaps} times with a bitmap"
    );

    ctx.step("moving to the destination");
    migration::limit_bandwidth(&mut source.vm, UNLIMITED)?;
    migration::limit_downtime(&mut source.vm, DOWNTIMES.1)?;
    let figures = migration::arrive(&mut source.vm, &mut destination.vm)?;
    let carried = commands_left(&mut source.vm, 0)?;
    destination.vm.succeed(&mut source.vm)?;
    let checked = destination.vm.gpu_check()?;
    ensure_whole(&checked)?;
    ctx.step("working at the destination");
    destination.vm.gpu_batches(BATCHES)?;
    ensure_whole(&destination.vm.gpu_check()?)?;
    ensure_quiet(&source)?;
    ensure_quiet(&destination)?;
    ctx.report(Report {
        total_ms: figures.total_ms,
        downtime_ms: figures.downtime_ms,
        unmaps_with_bitmap: unmaps,
        commands_carried: carried,
        pages_checked: checked.looks,
    })?;
    Ok(Outcome::Passed)
}
