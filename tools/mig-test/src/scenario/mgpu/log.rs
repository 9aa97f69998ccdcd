// SPDX-License-Identifier: GPL-2.0
//! The card's DMA log, in a type1 container and with iommufd, compared page by page with what the
//! commands wrote.

use std::collections::BTreeSet;

use anyhow::Result;
use rustix::io::Errno;

use super::account::{self, pages};
use super::card::{iova, Card, Command, DATA, GUEST, IOVA};
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::account::Account;
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::iommufd;

/// The ranges that the log is started for: the guest's memory.
const RANGES: [(u64, u64); 2] = [(0, 1 << 30), (1 << 32, 1 << 30)];

/// Returns the pages of guest memory that the log reports, which marks them clean.
fn take(card: &Card) -> Result<BTreeSet<usize>> {
    Account::Log.take(&card.device, IOVA, GUEST)
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    if !iommufd::is_there() {
        let card = Card::new()?;
        checks.equal(
            "log where it cannot be reported",
            card.device.has_log(),
            false,
        );
        return Ok(match checks.outcome() {
            Outcome::Passed => Outcome::Skipped {
                reason: "this kernel has no CONFIG_IOMMUFD_DRIVER; run it with --kernel debug"
                    .into(),
            },
            other => other,
        });
    }
    for (name, open) in [
        ("type1 container", Device::open as fn(&_) -> _),
        ("iommufd", Device::open_cdev),
    ] {
        ctx.step(format!("with the guest's memory in: {name}"));
        let card = Card::through(open)?;
        card.start()?;
        calls(&mut checks, &card)?;
        card.device.start_log(PAGE as u64, &RANGES)?;
        account::check(ctx, &mut checks, &card, Account::Log)?;
        sizes(&mut checks, &card)?;
        unmapped(&mut checks, &card)?;
        card.device.stop_log()?;
        checks.equal("pages still pinned with the card idle", pinned()?, before);
        drop(card);
        checks.equal("pages still pinned with the card gone", pinned()?, before);
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Tests valid and invalid calls on a log that is stopped before and after.
fn calls(checks: &mut Checks, card: &Card) -> Result<()> {
    let device = &card.device;
    checks.equal("the card has a log", device.has_log(), true);
    let report = || device.take_log(IOVA, GUEST, PAGE).map(|pages| pages.len());
    let page = PAGE as u64;
    checks.equal("report before the start", report(), Err(Errno::INVAL));
    checks.equal("stop before the start", device.stop_log(), Ok(()));
    let bad = [
        ("no range", page, vec![], Errno::INVAL),
        ("257 ranges", page, vec![(0, page); 257], Errno::TOOBIG),
        (
            "overlap",
            page,
            vec![(0, 2 * page), (page, page)],
            Errno::INVAL,
        ),
        ("half a page", page, vec![(0, page / 2)], Errno::INVAL),
        (
            "wrap",
            page,
            vec![(u64::MAX - page + 1, 2 * page)],
            Errno::OVERFLOW,
        ),
        ("pages of 0", 0, vec![(0, page)], Errno::INVAL),
        ("pages of 3", 3, vec![(0, 3)], Errno::INVAL),
    ];
    for (name, size, ranges, error) in bad {
        let answer = device.start_log(size, &ranges);
        checks.equal(format!("start with {name}"), answer, Err(error));
    }
    // Whatever size of pages is asked for, a log has its own.
    checks.equal("start", device.start_log(1 << 21, &RANGES[..1]), Ok(page));
    checks.equal(
        "second start",
        device.start_log(page, &RANGES),
        Err(Errno::BUSY),
    );
    card.execute(&[Command::fill_guest(iova(DATA), PAGE, 1)])?;
    checks.equal("stop", device.stop_log(), Ok(()));
    checks.equal("report after the stop", report(), Err(Errno::INVAL));
    checks.equal("start anew", device.start_log(page, &RANGES), Ok(page));
    checks.equal("what was dirty before the stop", report(), Ok(0));
    let bad = [
        ("pages of 2048", GUEST, 2048, Errno::INVAL),
        ("pages of 12288", GUEST, 3 * PAGE, Errno::INVAL),
    ];
    for (name, length, size, error) in bad {
        let answer = device.take_log(IOVA, length, size).map(drop);
        checks.equal(format!("report in {name}"), answer, Err(error));
    }
    card.execute(&[Command::fill_guest(iova(DATA), PAGE, 1)])?;
    device.reset()?;
    card.start()?;
    let written = pages(DATA..DATA + PAGE).len();
    checks.equal("a reset forgets no page", report(), Ok(written));
    Ok(device.stop_log()?)
}

/// Tests a report in larger pages, and in parts.
fn sizes(checks: &mut Checks, card: &Card) -> Result<()> {
    let device = &card.device;
    // Address of guest memory: an odd multiple of 1 MiB.
    let at = 3 << 20;
    let fill = [Command::fill_guest(iova(at), 2 * PAGE, 1)];
    card.execute(&fill)?;
    let large = device.take_log(IOVA, GUEST, 1 << 20)?;
    checks.equal("report in pages of 1 MiB", large, vec![3]);
    checks.equal("and once more", take(card)?.len(), 0);
    card.execute(&fill)?;
    let first = device.take_log(iova(at), PAGE, PAGE)?;
    checks.equal("report of one page", first, vec![0]);
    let rest = take(card)?.into_iter().collect::<Vec<_>>();
    checks.equal("report of the rest", rest, vec![at / PAGE + 1]);
    Ok(())
}

/// Tests that what was written before an unmap is reported after it.
fn unmapped(checks: &mut Checks, card: &Card) -> Result<()> {
    const ELSEWHERE: u64 = 7 << 32;
    let space = &card.device.space;
    space.map_dma(Dma {
        iova: ELSEWHERE,
        memory: &card.guest,
        offset: 0,
        len: GUEST,
        access: Access::ReadWrite,
    })?;
    // By a pin and by a copy.
    card.execute(&[
        Command::fill_guest(ELSEWHERE + DATA as u64, 3 * PAGE, 1),
        Command::fill_guest(ELSEWHERE + (1 << 20), 8, 1),
    ])?;
    space.unmap_dma(ELSEWHERE, GUEST)?;
    let mut expected: Vec<usize> = pages(DATA..DATA + 3 * PAGE).collect();
    expected.push((1 << 20) / PAGE);
    let reported = card.device.take_log(ELSEWHERE, GUEST, PAGE)?;
    checks.equal("pages of memory that is gone", reported, expected);
    checks.equal("pages of memory that stays", take(card)?.len(), 0);
    Ok(())
}
