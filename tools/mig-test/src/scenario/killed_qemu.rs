// SPDX-License-Identifier: GPL-2.0
//! A QEMU is killed at a random moment of a migration. If it is the destination's, the guest goes
//! on at the source, and can still migrate. If it is the source's, the destination has all of the
//! guest or gives up. The mdevs of the dead are free at once.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use mig_common::random::Random;
use serde::Serialize;
use serde_json::json;

use super::bed::{ensure_quiet, migrate_checked, Bed, Checkpoint, Host, BOTH};
use super::mgpu::random;
use super::victim::open_at_once;
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration::{self, Stop, CRAWL, UNLIMITED};
use crate::qemu::vm::Role;

/// Kills of a destination, unless the option `kills` says otherwise; a source is killed for each
/// [`PER_SOURCE`] of them, because then a guest must boot.
const KILLS: usize = 6;
const PER_SOURCE: usize = 6;
/// The latest moment of a kill after its phase has begun, in microseconds.
const LATEST: usize = 400_000;

/// What a migration does when one of its QEMUs is killed.
#[derive(Clone, Copy)]
enum Phase {
    /// It transfers memory while the guest runs.
    PreCopy,
    /// The guest is paused and the devices are in STOP_COPY, before the last of their state.
    BeforeSwitchover,
    /// The last of their state is transferred and loaded.
    Switchover,
}

const PHASES: [Phase; 3] = [Phase::PreCopy, Phase::BeforeSwitchover, Phase::Switchover];

/// How the killed migrations have ended.
#[derive(Default, Serialize)]
struct Row {
    killed: &'static str,
    kills: usize,
    /// So often the guest was at the source afterwards, whole.
    at_source: usize,
    /// So often it was at the destination, or had been when that was killed.
    at_destination: usize,
    /// So often it was gone with the source.
    gone: usize,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let kills = ctx.number("kills", KILLS)?;
    let mut random = random::prepare(ctx)?;
    let bed = Bed::prepare(ctx)?;
    let destinations = destinations(ctx, &bed, &mut random, kills)?;
    let sources = sources(ctx, &bed, &mut random, kills.div_ceil(PER_SOURCE))?;
    ctx.report([destinations, sources])?;
    Ok(Outcome::Passed)
}

/// Kills destinations of one guest, which migrates at the end.
fn destinations(ctx: &mut Ctx, bed: &Bed, random: &mut Random, kills: usize) -> Result<Row> {
    let mut row = Row {
        killed: "destination",
        kills,
        ..Row::default()
    };
    let (mut source, mut before) = bed.running_source(ctx, &BOTH)?;
    for number in 0..kills {
        let (phase, moment) = moment(random);
        let what = format!("killing destination {number} of {kills} {moment:?} {phase}");
        ctx.step(&what);
        let stays = stays(bed, &mut source, &before, phase, moment).context(what)?;
        if stays {
            row.at_source += 1;
        } else {
            row.at_destination += 1;
            (source, before) = bed.running_source(ctx, &BOTH)?;
        }
    }
    ctx.step("migrating without a kill");
    let mut destination = bed.start_of("destination", &BOTH, Role::Destination)?;
    migration::limit_bandwidth(&mut source.vm, UNLIMITED)?;
    migrate_checked(bed, &mut source, &mut destination)?;
    ensure_quiet(&destination)?;
    Ok(row)
}

/// Kills a destination. Returns whether the guest stays at the source, where it must be whole.
fn stays(
    bed: &Bed,
    source: &mut Host,
    before: &Checkpoint,
    phase: Phase,
    moment: Duration,
) -> Result<bool> {
    let mut destination = begin(bed, source, phase)?;
    thread::sleep(moment);
    kill(&mut destination)?;
    if let Phase::BeforeSwitchover = phase {
        // The source sees the end of the connection only then.
        go_on(source)?;
    }
    if migration::await_any_status(&mut source.vm, &["completed", "failed"])? == "completed" {
        return Ok(false);
    }
    migration::await_running(&mut source.vm)?;
    Checkpoint::check(source, before)?;
    Ok(true)
}

/// Kills sources, each of another guest.
fn sources(ctx: &mut Ctx, bed: &Bed, random: &mut Random, kills: usize) -> Result<Row> {
    let mut row = Row {
        killed: "source",
        kills,
        ..Row::default()
    };
    for number in 0..kills {
        let (mut source, before) = bed.running_source(ctx, &BOTH)?;
        let (phase, moment) = moment(random);
        let what = format!("killing source {number} of {kills} {moment:?} {phase}");
        ctx.step(&what);
        match arrives(bed, &mut source, &before, phase, moment).context(what)? {
            true => row.at_destination += 1,
            false => row.gone += 1,
        }
    }
    Ok(row)
}

/// Kills a source. Returns whether the guest arrives at the destination, where it must be whole;
/// the destination must give up otherwise.
fn arrives(
    bed: &Bed,
    source: &mut Host,
    before: &Checkpoint,
    phase: Phase,
    moment: Duration,
) -> Result<bool> {
    let mut destination = begin(bed, source, phase)?;
    thread::sleep(moment);
    kill(source)?;
    if migration::await_status(&mut destination.vm, "completed").is_ok() {
        destination.vm.continue_console(&mut source.vm);
        Checkpoint::check(&mut destination, before)?;
        return Ok(true);
    }
    let status = destination.vm.await_exit()?;
    ensure!(status.code() == Some(1), "the destination ends: {status}");
    are_free(&destination)?;
    Ok(false)
}

/// Returns a phase and a moment in it.
fn moment(random: &mut Random) -> (Phase, Duration) {
    let phase = PHASES[random.below(PHASES.len())];
    // Every other one is soon.
    let moment = match random.coin() {
        true => random.size(LATEST),
        false => random.below(LATEST),
    };
    (phase, Duration::from_micros(moment as u64))
}

/// Starts a destination, and takes a migration to it to the beginning of a phase.
fn begin(bed: &Bed, source: &mut Host, phase: Phase) -> Result<Host> {
    let mut destination = bed.start_of("destination", &BOTH, Role::Destination)?;
    let socket = bed.socket("killed");
    let (bandwidth, stop, status) = match phase {
        Phase::PreCopy => (CRAWL, Stop::Never, "active"),
        _ => (UNLIMITED, Stop::BeforeSwitchover, "pre-switchover"),
    };
    migration::listen(&mut destination.vm, &socket)?;
    migration::limit_bandwidth(&mut source.vm, bandwidth)?;
    migration::start(&mut source.vm, &socket, stop)?;
    migration::await_status(&mut source.vm, status)?;
    if let Phase::Switchover = phase {
        go_on(source)?;
    }
    Ok(destination)
}

/// Begins the switchover.
fn go_on(source: &mut Host) -> Result<()> {
    let arguments = json!({ "state": "pre-switchover" });
    source.vm.command("migrate-continue", arguments)?;
    Ok(())
}

/// Kills a QEMU, whose mdevs must be free then.
fn kill(host: &mut Host) -> Result<()> {
    host.vm.console().1.kill()?;
    host.vm.await_exit()?;
    are_free(host)
}

/// Requires that the mdevs of a QEMU that has ended are as any that are not in use.
fn are_free(host: &Host) -> Result<()> {
    let devices = host.cards.iter().map(|card| &card.mdev);
    devices
        .map(open_at_once)
        .try_for_each(|device| device.map(drop))
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::PreCopy => "after pre-copy began",
            Phase::BeforeSwitchover => "after the guest's pause",
            Phase::Switchover => "after the switchover began",
        })
    }
}
