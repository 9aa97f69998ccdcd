// SPDX-License-Identifier: GPL-2.0
//! What the type1 container reports of guest memory, page by page against what the commands touched.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use anyhow::{Context, Result};
use mgpu_model::uapi::reg;
use serde::Serialize;

use super::card::{iova, Card, Command, DATA, FENCE, GUEST, IOVA, VRAM};
use super::random::Random;
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::dma::PAGE;

/// Syncs of each kind.
const SYNCS: usize = 16;
/// The most bytes of a command.
const LENGTH: usize = 200_000;

/// The figures of one kind of work.
#[derive(Default, Serialize)]
struct Report {
    /// Commands that only write guest memory, or that read it as well.
    work: &'static str,
    /// Pages that commands wrote between two syncs, of all of them.
    written: usize,
    /// Pages that the container reported.
    reported: usize,
    /// Pages reported for each that was written.
    ratio: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut random = Random::prepare(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let card = Card::started()?;
    card.device.group.track_dirty(true)?;
    checks.equal("dirty pages of a new card", dirty(&card)?.len(), 0);
    for reads in [false, true] {
        let work = if reads {
            "reading and writing"
        } else {
            "writing"
        };
        ctx.step(work);
        let mut report = Report {
            work,
            ..Report::default()
        };
        for sync in 0..SYNCS {
            let what = format!("{work}, sync {sync}");
            one(&mut checks, &card, &mut random, reads, &what, &mut report)?;
        }
        report.ratio = report.reported as f64 / report.written.max(1) as f64;
        ctx.report(report)?;
    }
    ctx.step("syncs while the device works");
    at_work(&mut checks, &card)?;
    card.device.group.track_dirty(false)?;
    checks.equal("pages still pinned with the card idle", pinned()?, before);
    drop(card);
    checks.equal("pages still pinned with the card gone", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Executes commands and looks at what is reported: after them, and once more.
fn one(
    checks: &mut Checks,
    card: &Card,
    random: &mut Random,
    reads: bool,
    what: &str,
    report: &mut Report,
) -> Result<()> {
    let (mut written, mut touched) = (BTreeSet::new(), BTreeSet::new());
    let mut commands = Vec::new();
    for _ in 0..1 + random.below(12) {
        let length = match random.coin() {
            true => random.size(LENGTH),
            false => 1 + random.below(LENGTH),
        };
        let at = DATA + random.below(GUEST - DATA - length);
        let vram = random.below(VRAM - length);
        commands.push(match random.below(if reads { 3 } else { 2 }) {
            0 => Command::fill_guest(iova(at), length, 1),
            1 => Command::download(iova(at), vram, length),
            _ => Command::upload(vram, iova(at), length),
        });
        touched.extend(pages(at..at + length));
        if commands.last().is_some_and(|command| command.dst >= IOVA) {
            written.extend(pages(at..at + length));
        }
    }
    commands.push(Command::fence(iova(FENCE), 1));
    written.insert(FENCE / PAGE);
    touched.insert(FENCE / PAGE);
    card.execute(&commands)?;
    checks.equal(format!("{what}: ERROR"), card.get(reg::ERROR)?, 0);

    let reported = dirty(card)?;
    let lost = written.difference(&reported).count();
    checks.equal(format!("{what}: pages lost"), lost, 0);
    let needless = reported.difference(&touched).count();
    checks.equal(
        format!("{what}: pages that no command touched"),
        needless,
        0,
    );
    checks.equal(format!("{what}: pages once more"), dirty(card)?.len(), 0);
    report.written += written.len();
    report.reported += reported.len();
    Ok(())
}

/// What is written while somebody looks is in one of the looks.
fn at_work(checks: &mut Checks, card: &Card) -> Result<()> {
    let length = 1 << 20;
    let places: Vec<usize> = (0..6).map(|place| DATA + 5 + place * length).collect();
    let mut written: BTreeSet<usize> = BTreeSet::new();
    let mut commands = Vec::new();
    for at in places.iter().cycle().take(40) {
        commands.push(Command::fill_guest(iova(*at), length, 3));
        written.extend(pages(*at..*at + length));
    }
    card.submit(&commands)?;
    let mut reported = BTreeSet::new();
    let mut syncs = 0;
    while card.get(reg::RING_HEAD)? != card.get(reg::RING_TAIL)? && syncs < 10_000 {
        reported.extend(dirty(card)?);
        syncs += 1;
    }
    card.await_idle()?;
    reported.extend(dirty(card)?);
    checks.equal("pages of all syncs", reported, written);
    checks.equal("pages once the device is idle", dirty(card)?.len(), 0);
    Ok(())
}

/// The pages of guest memory that the container calls dirty, which are clean then.
fn dirty(card: &Card) -> Result<BTreeSet<usize>> {
    let pages = card.device.group.take_dirty(IOVA, GUEST)?;
    Ok(pages.into_iter().collect())
}

fn pages(bytes: Range<usize>) -> Range<usize> {
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}

/// Pages that are pinned in the whole machine.
pub fn pinned() -> Result<i64> {
    // Each processor counts for itself; reading this adds them up.
    fs::read("/proc/sys/vm/stat_refresh")?;
    let vmstat = fs::read_to_string("/proc/vmstat")?;
    let count = |name: &str| -> Result<i64> {
        let line = vmstat.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("/proc/vmstat has no {name}"))?;
        Ok(line.trim().parse()?)
    };
    Ok(count("nr_foll_pin_acquired ")? - count("nr_foll_pin_released ")?)
}
