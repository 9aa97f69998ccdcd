// SPDX-License-Identifier: GPL-2.0
//! Memory that is unmapped while ranges are pinned, also by a device that is being opened, or
//! pinned again before the unmap is over; and a device that is closed meanwhile.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Result};
use rustix::io::Errno;

use super::card::{iova, Card, Kind, PAGES, READ_ONLY};
use crate::health::pinned;
use crate::patience;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::waiting::until;
use crate::vfio::dma::PAGE;

/// What is mapped apart from the rest.
const FIRST: usize = 100;
const COUNT: usize = 50;
/// How long hardware takes to stop, so that something can begin meanwhile.
const STOP: Duration = Duration::from_secs(1);
/// How long anything may take that is no more than a few calls.
const PATIENCE: Duration = Duration::from_secs(60);

/// Unmaps memory of which guards hold all, a part and nothing.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    // Three mappings, of which the middle one goes.
    card.unmap(0, PAGES)?;
    card.map(0, FIRST)?;
    card.map(FIRST + COUNT, PAGES - FIRST - COUNT)?;
    for kind in Kind::ALL {
        card.map(FIRST, COUNT)?;
        let [within, across, beside, dma] = [0, 1, 2, 3].map(|number| card.channel(number));
        within.pin(kind, iova(FIRST * PAGE + 5), 2 * PAGE)?;
        across.pin(kind, iova((FIRST - 3) * PAGE), 6 * PAGE)?;
        beside.pin(kind, iova((FIRST - 3) * PAGE), 3 * PAGE)?;
        dma.pin(Kind::Dma, iova((FIRST + COUNT - 1) * PAGE), PAGE + 1)?;
        let stops = card.stops()?;
        let unmapped = card.unmap(FIRST, COUNT)?;
        checks.equal("bytes unmapped", unmapped, (COUNT * PAGE) as u64);
        let what = format!("{kind:?} guards");
        let left = pinned()? - nothing;
        checks.equal(format!("{what}: pages left after the unmap"), left, 3);
        let stopped = card.stops()? - stops;
        let right = if kind.is_for_hardware() { 3 } else { 1 };
        checks.equal(format!("{what}: hardware stopped"), stopped, right);
        for (name, channel) in [("within", within), ("across", across), ("dma", dma)] {
            let read = channel.kept_read(0, 1);
            checks.refused(format!("{what}: read {name}"), read, Errno::FAULT);
        }
        checks.refused(format!("{what}: walk"), dma.kept_walk(), Errno::FAULT);
        checks.refused(format!("{what}: start"), dma.kept_start(), Errno::FAULT);
        let there = card.contents((FIRST - 2) * PAGE, PAGE);
        let read = beside.kept_read(PAGE, PAGE);
        checks.equal(format!("{what}: read beside"), read, Ok(there));
        if kind == Kind::Write {
            let answer = within.kept_write(0, &[1]);
            checks.refused(format!("{what}: write within"), answer, Errno::FAULT);
        }
        for channel in [within, across, beside, dma] {
            checks.equal(format!("{what}: unpin"), channel.unpin(), Ok(()));
        }
        checks.equal(format!("{what}: pages left"), pinned()?, nothing);
        let stopped = card.stops()? - stops;
        checks.equal(format!("{what}: stopped by an unpin"), stopped, right);
        let again = within.pin(kind, iova(FIRST * PAGE), PAGE);
        checks.refused(format!("{what}: pin of a hole"), again, Errno::INVAL);
    }
    card.unmap(0, FIRST)?;
    card.unmap(FIRST + COUNT, PAGES - FIRST - COUNT)?;
    card.map(0, PAGES)
}

/// Tests an unmap that one card has completed while another one takes longer: the first card must
/// treat the memory as unmapped until new memory is mapped.
pub fn under_way(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    // Asked in this order or the other way round, a slow one comes after one that is not.
    let others = [card.beside()?, card.beside()?];
    let [slow, other] = &others;
    let quick = [card, other];
    slow.channel(0)
        .pin_slow(iova(0), PAGE, patience::of(STOP))?;
    for card in quick {
        card.channel(0).pin(Kind::Dma, iova(0), PAGE)?;
    }
    let stops = card.stops()?;
    let again = |card: &Card| card.channel(1).pin(Kind::Write, iova(PAGE), PAGE);
    thread::scope(|scope| {
        let unmap = scope.spawn(|| card.unmap(0, PAGES));
        let first_is_asked = || anyhow::Ok(card.stops()? != stops);
        until(PATIENCE, || Ok(first_is_asked()? || other.stops()? != 0))?;
        let asked = if first_is_asked()? { card } else { other };
        let pin = again(asked);
        let elsewhere = asked.channel(2).pin(Kind::Read, READ_ONLY, PAGE);
        checks.that("the unmap was over too soon", !unmap.is_finished());
        checks.refused("pin of what is being unmapped", pin, Errno::INVAL);
        checks.equal("pin of other memory meanwhile", elsewhere, Ok(()));
        unmap.join().map_err(|_| anyhow!("the thread panicked"))?
    })?;
    card.map(0, PAGES)?;
    for card in quick {
        checks.equal("pin after the unmap", again(card), Ok(()));
    }
    (0..3).try_for_each(|number| card.channel(number).unpin())?;
    drop(others);
    checks.equal("pages pinned after it", pinned()?, nothing);
    Ok(())
}

/// Unmaps what a driver has pinned during its open: from its first pin on, a container requires
/// that the memory is unpinned.
pub fn opening(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let other = card.beside()?;
    other.pin_at_open(iova(0))?;
    let stops = other.stops()?;
    let other = thread::scope(|scope| {
        let opened = scope.spawn(|| other.reopen());
        until(
            PATIENCE,
            || Ok(pinned()? != nothing || opened.is_finished()),
        )?;
        checks.that("the driver has not got to its pin", pinned()? != nothing);
        checks.that("the open has not waited", !opened.is_finished());
        card.unmap(0, PAGES)?;
        opened.join().map_err(|_| anyhow!("the thread panicked"))?
    })?;
    checks.equal("hardware stopped in an open", other.stops()? - stops, 1);
    checks.equal("pages pinned by an open", pinned()?, nothing);
    card.map(0, PAGES)
}

/// Closes the device with ranges of every kind pinned.
pub fn close(checks: &mut Checks, card: Card) -> Result<()> {
    let nothing = pinned()?;
    for (number, kind) in Kind::ALL.into_iter().enumerate() {
        let channel = card.channel(number);
        channel.pin(kind, iova(number * PAGE), 700 * PAGE)?;
    }
    let stops = card.stops()?;
    let groups = card.device.group().is_ok();
    if !groups {
        drop(card);
        checks.equal("pages pinned after the close", pinned()?, nothing);
        return Ok(());
    }
    let card = card.reopen()?;
    checks.equal("pages pinned after the close", pinned()?, nothing);
    let stopped = card.stops()? - stops;
    checks.equal("hardware stopped by the close", stopped, 2);
    Ok(())
}
