// SPDX-License-Identifier: GPL-2.0
//! Guest memory: pins, copies, unmaps and the DMA log.

use anyhow::{ensure, Context, Result};

use super::points::Points;
use crate::scenario::memory::card::{iova, Card, Kind, IOVA};
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;

/// Pages of guest memory, more than fit in place of a pin.
const PAGES: usize = 5;
/// It cannot say that it has failed (Documentation/findings.md, 12).
const SETS_BITS: &str = "iova_bitmap_set";

/// Runs the calls.
pub fn run(points: &mut Points<'_, '_>) -> Result<()> {
    for kind in Kind::ALL {
        for pages in [1, PAGES] {
            points.of(
                format!("pinning {pages} pages, {kind:?}"),
                card,
                |card| card.channel(0).pin(kind, iova(0), pages * PAGE),
                |card, pinned| {
                    let channel = card.channel(0);
                    match pinned {
                        Ok(()) => channel.unpin()?,
                        Err(_) => channel.pin(kind, iova(0), pages * PAGE).context("again")?,
                    }
                    is_whole(card)
                },
            )?;
        }
    }
    points.of(
        "unmapping what is pinned",
        || {
            let card = card()?;
            card.channel(0).pin(Kind::Dma, iova(0), PAGES * PAGE)?;
            Ok(card)
        },
        |card| card.device.space.unmap_dma(IOVA, PAGES * PAGE).map(drop),
        |card, unmapped| {
            if unmapped.is_err() {
                card.unmap(0, PAGES).context("again")?;
            }
            card.map(0, PAGES)?;
            is_whole(card)
        },
    )?;
    points.of(
        "reading guest memory",
        card,
        |card| card.channel(0).read(iova(PAGE - 8), 64).map(drop),
        |card, _| is_whole(card),
    )?;
    points.of(
        "writing guest memory",
        card,
        |card| card.channel(0).write(iova(PAGE - 8), &[0x5a; 64]),
        |card, _| {
            card.channel(0).write(iova(PAGE - 8), &[0x5a; 64])?;
            ensure!(card.contents(PAGE - 8, 64) == [0x5a; 64], "not written");
            is_whole(card)
        },
    )?;
    log(points)
}

/// The DMA log: start, writes of the device, report, stop.
fn log(points: &mut Points<'_, '_>) -> Result<()> {
    let ranges = [(IOVA, (PAGES * PAGE) as u64)];
    if !card()?.device.has_log() {
        return Ok(());
    }
    let logged = || {
        let card = card()?;
        card.device.start_log(PAGE as u64, &ranges)?;
        Ok(card)
    };
    points.of(
        "starting the log",
        card,
        |card| card.device.start_log(PAGE as u64, &ranges).map(drop),
        |card, started| {
            // VFIO says after the start what it has started, which can fail.
            if started.is_ok() {
                card.device.stop_log()?;
            } else {
                let _ = card.device.stop_log();
            }
            card.device
                .start_log(PAGE as u64, &ranges)
                .context("again")?;
            is_whole(card)
        },
    )?;
    points.of(
        "writing with the log started",
        logged,
        |card| card.channel(0).write(iova(2 * PAGE), &[1; 8]),
        |card, _| {
            card.channel(0).write(iova(2 * PAGE), &[1; 8])?;
            let dirty = card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
            ensure!(dirty.contains(&2), "not dirty: {dirty:?}");
            is_whole(card)
        },
    )?;
    points.spare(SETS_BITS)?;
    points.of(
        "reporting the log",
        || {
            let card = logged()?;
            card.channel(0).write(iova(2 * PAGE), &[1; 8])?;
            Ok((card, Vec::new()))
        },
        |(card, dirty)| {
            *dirty = card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
            Ok(())
        },
        |(card, mut dirty), answer| {
            if answer.is_err() {
                dirty = card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
            }
            ensure!(dirty.contains(&2), "lost: {dirty:?}, {answer:?}");
            is_whole(card)
        },
    )?;
    points.of(
        "stopping the log",
        logged,
        |card| card.device.stop_log(),
        |card, _| is_whole(card),
    )
}

fn card() -> Result<Card> {
    Card::new(Device::open, PAGES)
}

/// The card after a call that may have failed: it reaches its memory, and lets go of it.
fn is_whole(card: Card) -> Result<()> {
    card.device.reset().context("reset")?;
    card.device.enable_bus_master()?;
    let channel = card.channel(0);
    for kind in Kind::ALL {
        channel.pin(kind, iova(0), PAGES * PAGE)?;
        channel.unpin()?;
    }
    Ok(())
}
