// SPDX-License-Identifier: GPL-2.0
//! The toy GPU in a Linux guest, which keeps it busy and migrates.
//!
//! The guest knows the expected contents of every page of its own memory and of VRAM, because every
//! page is filled with the number of an epoch. It checks a page before each use and all pages on
//! request, so it detects a page that was written and not sent, whatever happens to it later.

use std::time::Instant;

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::{reg, BAR_REGISTERS, RINGS};
use mig_common::message::Checked;
use mig_common::picture::{pixel, HEIGHT, WIDTH};
use mig_common::random::Random;
use serde::Serialize;

use super::random::seed;
use crate::event::Outcome;
use crate::qemu::migration::{self, Figures, Stop};
use crate::qemu::traffic::Sent;
use crate::qemu::vm::{Role, Vm};
use crate::scenario::bed::{ensure_quiet, load, Bed, Host, MGPU_16, MGPU_RS};
use crate::scenario::Ctx;

/// Batches of commands that have to pass to show that the GPU works.
pub const BATCHES: u64 = 8;
/// Commands that the guest's ring has room for, and one.
const RING: u32 = 1024;
/// Migrations of the ping-pong.
const LEGS: u32 = 10;
/// Workloads unless the option `workloads` says otherwise.
const WORKLOADS: u64 = 5;
/// The most batches of one workload before its migration.
const MOST: usize = 60;

/// Demands that every page holds what it must.
pub fn ensure_whole(checked: &Checked) -> Result<()> {
    ensure!(
        checked.lost + checked.corrupt == 0,
        "of {} looks at a page, {} found an older value and {} a wrong one; the first: {}",
        checked.looks,
        checked.lost,
        checked.corrupt,
        checked.first.as_deref().unwrap_or("unknown")
    );
    Ok(())
}

/// Has a guest that has moved go on with its GPU's work, and then look at every page.
pub fn go_on(vm: &mut Vm) -> Result<Checked> {
    vm.gpu_batches(BATCHES)
        .context("the GPU does not go on with its work")?;
    vm.gpu_check()
}

/// Has the guest draw a picture, and demands that the screen shows it.
pub fn draw(vm: &mut Vm, card: usize, number: u32) -> Result<()> {
    vm.gpu_draw(number)?;
    ensure!(
        shows(vm, card, number)?,
        "the screen does not show picture {number}, which the guest has drawn"
    );
    Ok(())
}

/// Whether the screen of a card shows a picture.
pub fn shows(vm: &mut Vm, card: usize, number: u32) -> Result<bool> {
    let screen = vm.screen(card)?;
    let rows = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| pixel(number, x, y)));
    Ok((screen.width, screen.height) == (WIDTH, HEIGHT) && screen.pixels.into_iter().eq(rows))
}

/// Commands that the rings of a card whose guest has left have not finished.
pub fn commands_left(vm: &mut Vm, card: usize) -> Result<u32> {
    let mut left = 0;
    for ring in 0..RINGS {
        let mut index = |of: u64| vm.register(card, BAR_REGISTERS, reg::of_ring(ring, of));
        let (head, tail) = (index(reg::RING_HEAD)?, index(reg::RING_TAIL)?);
        left += tail.wrapping_sub(head) % RING;
    }
    Ok(left)
}

/// What a migration has come to.
struct Leg {
    figures: Figures,
    sent: Sent,
    carried: u32,
    checked: Checked,
}

/// Moves a guest whose GPU works, and demands that nothing happened to its pages.
fn migrate(bed: &Bed, source: &mut Host, destination: &mut Host) -> Result<Leg> {
    let socket = bed.socket("migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::start(&mut source.vm, &socket, Stop::Never)?;
    let figures = migration::arrive(&mut source.vm, &mut destination.vm)?;
    let carried = commands_left(&mut source.vm, 0)?;
    destination.vm.succeed(&mut source.vm)?;
    let checked = go_on(&mut destination.vm)?;
    ensure_whole(&checked)?;
    ensure_quiet(source)?;
    ensure_quiet(destination)?;
    Ok(Leg {
        figures,
        sent: source.vm.traffic()?.of(&source.cards[0].mdev.uuid),
        carried,
        checked,
    })
}

/// A guest whose GPU works moves back and forth.
struct Journey {
    bed: Bed,
    here: Host,
    there: Host,
    legs: u32,
}

impl Journey {
    fn begin(ctx: &mut Ctx) -> Result<Journey> {
        load(MGPU_RS.module)?;
        let bed = Bed::prepare(ctx)?;
        ctx.step("booting the guest");
        let mut here = bed.start("even", &MGPU_RS, MGPU_16, Role::Source)?;
        let there = bed.start("odd", &MGPU_RS, MGPU_16, Role::Destination)?;
        here.vm.await_ready()?;
        Ok(Journey {
            bed,
            here,
            there,
            legs: 0,
        })
    }

    /// Moves the guest, and gets another destination ready where it came from.
    fn step(mut self) -> Result<(Journey, Leg)> {
        let leg = migrate(&self.bed, &mut self.here, &mut self.there)?;
        let Host { vm, cards } = self.here;
        drop(vm);
        let name = ["even", "odd"][self.legs as usize % 2];
        Ok((
            Journey {
                here: self.there,
                there: self.bed.start_with(name, cards, Role::Destination)?,
                bed: self.bed,
                legs: self.legs + 1,
            },
            leg,
        ))
    }
}

/// The figures of one migration of several.
#[derive(Serialize)]
struct LegReport {
    leg: u32,
    total_ms: u64,
    downtime_ms: u64,
    gpu_pre_copy_bytes: u64,
    gpu_stop_copy_bytes: u64,
    commands_carried: u32,
    pages_checked: u64,
}

/// The guest goes back and forth, and draws a new picture at each place.
pub fn ping_pong(ctx: &mut Ctx) -> Result<Outcome> {
    let seed = seed(ctx)?;
    let mut journey = Journey::begin(ctx)?;
    journey.here.vm.gpu_work(seed)?;
    let mut reports = Vec::new();
    for leg in 1..=LEGS {
        ctx.step(format!("migration {leg} of {LEGS}"));
        draw(&mut journey.here.vm, 0, leg)?;
        journey.here.vm.gpu_batches(BATCHES)?;
        let (next, done) = journey.step()?;
        journey = next;
        ensure!(
            shows(&mut journey.here.vm, 0, leg)?,
            "the screen of the destination shows another picture"
        );
        reports.push(LegReport {
            leg,
            total_ms: done.figures.total_ms,
            downtime_ms: done.figures.downtime_ms,
            gpu_pre_copy_bytes: done.sent.pre_copy,
            gpu_stop_copy_bytes: done.sent.stop_copy,
            commands_carried: done.carried,
            pages_checked: done.checked.looks,
        });
    }
    // Whether a command is in flight at the stop is up to the guest here; mgpu-migrate sees to it.
    ctx.report(reports)?;
    Ok(Outcome::Passed)
}

/// The figures of many workloads.
#[derive(Default, Serialize)]
struct Workloads {
    seed: u64,
    workloads: u64,
    workload_ms: u64,
    longest_downtime_ms: u64,
    commands: u64,
    commands_carried: u64,
    pages_checked: u64,
}

/// Random workloads, each with a migration at a random moment.
pub fn random(ctx: &mut Ctx) -> Result<Outcome> {
    let seed = seed(ctx)?;
    let workloads = ctx.number("workloads", WORKLOADS)?;
    let mut random = Random::new(seed);
    let mut journey = Journey::begin(ctx)?;
    let mut report = Workloads {
        seed,
        workloads,
        ..Workloads::default()
    };
    let begin = Instant::now();
    for workload in 0..workloads {
        ctx.step(format!("workload {} of {workloads}", workload + 1));
        let of_this = random.next_u64();
        journey.here.vm.gpu_work(of_this)?;
        journey.here.vm.gpu_batches(random.size(MOST) as u64)?;
        let (next, leg) = journey
            .step()
            .with_context(|| format!("workload {workload}, of seed {of_this}"))?;
        journey = next;
        report.longest_downtime_ms = report.longest_downtime_ms.max(leg.figures.downtime_ms);
        report.commands = leg.checked.commands;
        report.commands_carried += u64::from(leg.carried);
        report.pages_checked += leg.checked.looks;
    }
    report.workload_ms = begin.elapsed().as_millis() as u64 / workloads.max(1);
    ctx.report(report)?;
    Ok(Outcome::Passed)
}
