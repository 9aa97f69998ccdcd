// SPDX-License-Identifier: GPL-2.0
//! Guest memory that is unmapped while commands use it: each command must fail with the right error
//! or succeed, nothing may hang or stay pinned, and the container must report every written page,
//! at each unmap and in the end. With a vIOMMU, a guest's driver makes QEMU do the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Result};
use mgpu_model::error::Error;
use mgpu_model::uapi::reg;
use mig_common::random::Random;
use serde::Serialize;

use super::card::{contents, iova, Card, Command, FENCE, GUEST, IOVA, RING};
use super::random;
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::dma::{Access, Dma, PAGE};

/// Times that the data goes and comes back.
const STORM: usize = 8000;
/// Times that all guest memory goes, the ring with it.
const RINGS: usize = 100;
/// Where the data is that comes and goes: guest memory once more, so that the ring stays.
const AREA: u64 = IOVA + (64 << 20);
/// What a command fails with that met memory that had gone.
const GUEST_FAULTS: [u32; 2] = [Error::GuestRead.code(), Error::GuestWrite.code()];
/// What halts a ring that has gone itself.
const RING_READ: u32 = Error::RingRead.code();

/// The figures.
#[derive(Serialize)]
struct Report {
    /// Unmappings while commands ran.
    unmaps: usize,
    /// Batches of commands.
    batches: u64,
    /// Batches of which a command met memory that had gone.
    batches_failed: u64,
    /// Pages that the unmappings reported as dirty.
    pages_reported: usize,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let card = Card::started()?;

    ctx.step(format!("{STORM} unmappings of the data"));
    let report = storm(&mut checks, &card, &mut random)?;
    let mixed = 0 < report.batches_failed && report.batches_failed < report.batches;
    checks.that(
        format!(
            "{} of {} batches met memory that had gone, and it should be some",
            report.batches_failed, report.batches
        ),
        mixed,
    );
    checks.that("no unmapping reported a page", report.pages_reported > 0);
    ctx.report(report)?;
    checks.equal("pages still pinned after it", pinned()?, before);

    ctx.step(format!("{RINGS} unmappings of the ring"));
    let mut ends = Vec::new();
    for round in 0..RINGS {
        ends.push(under_the_ring(&mut checks, &card, &mut random, round)?);
    }
    let halted = ends.iter().any(|end| end.error == RING_READ);
    checks.that("no ring was halted by it", halted);
    let finished = ends.iter().any(|end| end.finished);
    checks.that("no ring had finished before it", finished);
    checks.equal("pages still pinned after all", pinned()?, before);

    ctx.step("the device afterwards");
    card.set(reg::ERROR, 0)?;
    card.execute(&[
        Command::fill_guest(iova(1 << 20), 1 << 20, 0x0bad_cafe),
        Command::upload(0, iova(1 << 20), 1 << 20),
        Command::fence(iova(FENCE), 77),
    ])?;
    let end = (card.get(reg::ERROR)?, card.fence().value);
    checks.equal("error and fence afterwards", end, (0, 77));
    let mut last = [0; 4];
    card.vram.read((1 << 20) - 4, &mut last);
    checks.equal("data afterwards", u32::from_le_bytes(last), 0x0bad_cafe);
    drop(card);
    checks.equal("pages still pinned with the card gone", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn map(card: &Card, iova: u64) -> Result<()> {
    Ok(card.device.space.map_dma(Dma {
        iova,
        memory: &card.guest,
        offset: 0,
        len: GUEST,
        access: Access::ReadWrite,
    })?)
}

/// One thread unmaps and maps, another keeps the ring busy. What is reported is copied, as a
/// migration does it, and the copy is compared in the end.
fn storm(checks: &mut Checks, card: &Card, random: &mut Random) -> Result<Report> {
    let group = card.device.group()?;
    map(card, AREA)?;
    group.track_dirty(true)?;
    let mut image = contents(&card.guest);
    let mut reported = 0;
    let mut copy = |pages: Vec<usize>| {
        reported += pages.len();
        for page in pages {
            let at = page * PAGE;
            card.guest.read(at, &mut image[at..at + PAGE]);
        }
    };
    let over = AtomicBool::new(false);
    let seed = random.next_u64();
    let (unmapped, worked) = thread::scope(|scope| {
        let over = &over;
        let worker = scope.spawn(move || work(card, over, Random::new(seed)));
        let unmapped = (0..STORM).try_for_each(|_| {
            copy(group.unmap_dma_dirty(AREA, GUEST)?);
            map(card, AREA)
        });
        over.store(true, Ordering::Release);
        (unmapped, worker.join())
    });
    unmapped?;
    let work = worked.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    copy(group.unmap_dma_dirty(AREA, GUEST)?);
    copy(group.take_dirty(IOVA, GUEST)?);
    group.track_dirty(false)?;
    checks.equal("errors other than a hole", work.strange, Vec::new());
    // This program has written the ring, and nobody reports that.
    let now = contents(&card.guest);
    let pages = image[FENCE..].chunks(PAGE).zip(now[FENCE..].chunks(PAGE));
    let lost = pages.filter(|(copied, now)| copied != now).count();
    checks.equal("pages lost in the storm", lost, 0);
    Ok(Report {
        unmaps: STORM,
        batches: work.batches,
        batches_failed: work.failed,
        pages_reported: reported,
    })
}

#[derive(Default)]
struct Work {
    batches: u64,
    failed: u64,
    /// What no fence may say.
    strange: Vec<u32>,
}

/// Keeps the engine at the area, and reads of each batch what its fence says.
fn work(card: &Card, over: &AtomicBool, mut random: Random) -> Result<Work> {
    let mut work = Work::default();
    while !over.load(Ordering::Acquire) {
        work.batches += 1;
        let mut commands: Vec<Command> = Vec::new();
        for _ in 0..1 + random.below(20) {
            let length = random.size(400_000);
            // Not where the ring is.
            let at = AREA + (1 << 20) + random.below(GUEST - length - (1 << 20)) as u64;
            commands.push(match random.below(3) {
                0 => Command::fill_guest(at, length, random.next_u64() as u32),
                1 => Command::download(at, 0, length),
                _ => Command::upload(0, at, length),
            });
        }
        commands.push(Command::fence(iova(FENCE), work.batches));
        card.execute(&commands)?;
        let fence = card.fence();
        ensure!(
            fence.value == work.batches,
            "fence {} says {fence:?}",
            work.batches
        );
        match fence.status {
            0 => {}
            status if GUEST_FAULTS.contains(&status) => work.failed += 1,
            status => work.strange.push(status),
        }
    }
    Ok(work)
}

/// How a ring has ended whose memory went.
struct End {
    error: u32,
    /// No command is left in it.
    finished: bool,
}

/// All guest memory goes at some moment of the ring's work: it halts or had finished.
fn under_the_ring(
    checks: &mut Checks,
    card: &Card,
    random: &mut Random,
    round: usize,
) -> Result<End> {
    card.start()?;
    card.set(reg::ERROR, 0)?;
    let commands: Vec<Command> = (0..RING - 1)
        .map(|_| Command::download(iova(1 << 20), 0, random.size(1 << 20)))
        .collect();
    let first = card.get(reg::RING_TAIL)?;
    card.submit(&commands)?;
    let all = commands.len();
    let done = match random.below(4) {
        0 => all,
        _ => random.below(all),
    };
    card.await_progress(first, done as u32)?;
    for _ in 0..random.below(30) {
        card.get(reg::RING_HEAD)?;
    }
    card.device.space.unmap_dma(IOVA, GUEST)?;
    card.await_idle()?;
    let error = card.get(reg::ERROR)?;
    let right = [0, GUEST_FAULTS[1], RING_READ].contains(&error);
    checks.that(format!("round {round}: error {error}"), right);
    let finished = card.get(reg::RING_HEAD)? == card.get(reg::RING_TAIL)?;
    // The last command may fail as any other, and is the ring's end then.
    let right = match error {
        0 => finished,
        RING_READ => !finished,
        _ => true,
    };
    checks.that(
        format!("round {round}: error {error}, finished: {finished}"),
        right,
    );
    map(card, IOVA)?;
    card.start()?;
    card.set(reg::ERROR, 0)?;
    card.execute(&[Command::fence(iova(FENCE), round as u64)])?;
    let value = card.fence_register()?;
    checks.equal(
        format!("round {round}: the fence after it"),
        value,
        round as u64,
    );
    Ok(End { error, finished })
}
