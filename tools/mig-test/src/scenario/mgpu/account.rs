// SPDX-License-Identifier: GPL-2.0
//! Work for a card with known written pages, compared with the reported dirty pages.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Result;
use mgpu_model::uapi::reg;
use mig_common::random::Random;
use serde::Serialize;

use super::card::{iova, Card, Command, DATA, FENCE, GUEST, IOVA, VRAM};
use super::random;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::account::Account;
use crate::vfio::dma::PAGE;

/// Syncs of each kind of work.
const SYNCS: usize = 16;
/// The most bytes of a command.
const LENGTH: usize = 200_000;

/// The figures of one kind of work.
#[derive(Serialize)]
struct Report {
    /// Who keeps account.
    account: Account,
    /// Commands that only write guest memory, or that read it as well.
    work: &'static str,
    /// Pages that commands wrote between two syncs, of all of them.
    written: usize,
    /// Pages that were reported.
    reported: usize,
    /// Pages reported for each that was written.
    ratio: f64,
}

/// Lets the card work, and checks the account: between commands, and while they are executed.
pub fn check(ctx: &mut Ctx, checks: &mut Checks, card: &Card, account: Account) -> Result<()> {
    let mut random = random::prepare(ctx)?;
    let name = account.name();
    checks.equal(
        format!("{name}: dirty pages of an idle card"),
        take(card, account)?.len(),
        0,
    );
    for reads in [false, true] {
        let work = match reads {
            true => "reading and writing",
            false => "writing",
        };
        ctx.step(format!("{name}: {work}"));
        let mut report = Report {
            account,
            work,
            written: 0,
            reported: 0,
            ratio: 0.0,
        };
        for sync in 0..SYNCS {
            let what = format!("{name}, {work}, sync {sync}");
            one(
                checks,
                card,
                &mut random,
                reads,
                &what,
                account,
                &mut report,
            )?;
        }
        report.ratio = report.reported as f64 / report.written.max(1) as f64;
        ctx.report(report)?;
    }
    ctx.step(format!("{name}: syncs while the device works"));
    at_work(checks, card, account)
}

/// The pages of guest memory that are dirty, which are clean then.
fn take(card: &Card, account: Account) -> Result<BTreeSet<usize>> {
    account.take(&card.device, IOVA, GUEST)
}

/// Executes commands and looks at what is reported: after them, and once more.
fn one(
    checks: &mut Checks,
    card: &Card,
    random: &mut Random,
    reads: bool,
    what: &str,
    account: Account,
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

    let reported = take(card, account)?;
    let lost = written.difference(&reported).count();
    checks.equal(format!("{what}: pages lost"), lost, 0);
    // A pinned page is dirty for the container, also if it is only read.
    let (kind, allowed) = match account {
        Account::Log => ("wrote", &written),
        Account::Container => ("touched", &touched),
    };
    let needless = reported.difference(allowed).count();
    let needless_of = format!("{what}: pages that no command {kind}");
    checks.equal(needless_of, needless, 0);
    let again = take(card, account)?.len();
    checks.equal(format!("{what}: pages once more"), again, 0);
    report.written += written.len();
    report.reported += reported.len();
    Ok(())
}

/// What is written while somebody looks is in one of the looks.
fn at_work(checks: &mut Checks, card: &Card, account: Account) -> Result<()> {
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
        reported.extend(take(card, account)?);
        syncs += 1;
    }
    card.await_idle()?;
    reported.extend(take(card, account)?);
    let name = account.name();
    checks.that(
        format!("{name}: no sync while the device worked"),
        syncs > 0,
    );
    checks.equal(format!("{name}: pages of all syncs"), reported, written);
    let left = take(card, account)?.len();
    checks.equal(format!("{name}: pages once the device is idle"), left, 0);
    Ok(())
}

/// The pages that hold some bytes of guest memory.
pub fn pages(bytes: Range<usize>) -> Range<usize> {
    bytes.start / PAGE..bytes.end.div_ceil(PAGE)
}
