// SPDX-License-Identifier: GPL-2.0
//! The device's DMA log after each call: the pages written, and whole ranges for `pin_dma`.

use anyhow::Result;

use super::card::{iova, Card, Kind, IOVA, PAGES};
use crate::scenario::conformance::checks::Checks;
use crate::vfio::dma::PAGE;

/// Where the ranges begin, in pages.
const FIRST: usize = 40;
/// How long they are.
const COUNT: usize = 10;

/// Runs all of it, with a log that is stopped before and after.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let range = || FIRST..FIRST + COUNT;
    let (at, len) = (FIRST * PAGE, COUNT * PAGE);
    let channel = card.channel(0);
    let mut check = |what: &str, pages: Vec<usize>| -> Result<()> {
        let dirty = card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
        checks.equal(format!("dirty: {what}"), dirty, pages);
        Ok(())
    };
    let start = || {
        card.device
            .start_log(PAGE as u64, &[(IOVA, (PAGES * PAGE) as u64)])
    };
    start()?;
    channel.read(iova(at), 8000)?;
    check("read", vec![])?;
    channel.write(iova(at - 1), &[1, 2])?;
    check("write across a page's end", vec![FIRST - 1, FIRST])?;
    let _ = channel.write(iova(PAGES * PAGE - 10), &[0; 20]);
    check("write of memory that ends", vec![PAGES - 1])?;

    channel.pin(Kind::Read, iova(at), len)?;
    channel.kept_read(0, 8000)?;
    check("pin_read and a read", vec![])?;
    channel.pin(Kind::Write, iova(at), len)?;
    channel.kept_read(0, 8000)?;
    check("pin_write and a read", vec![])?;
    channel.kept_write(3 * PAGE - 1, &[1, 2])?;
    channel.kept_write(7 * PAGE, &[1; 2 * PAGE])?;
    check(
        "pin_write and writes",
        [2, 3, 7, 8].map(|page| FIRST + page).into(),
    )?;
    channel.unpin()?;
    check("its end", vec![])?;

    channel.pin(Kind::Dma, iova(at + 1), len - 1)?;
    check("pin_dma", range().collect())?;
    check("pin_dma, at the next report", range().collect())?;
    channel.unpin()?;
    check("its end", range().collect())?;
    check("after its end", vec![])?;

    channel.pin(Kind::Dma, iova(at), len)?;
    card.device.stop_log()?;
    start()?;
    check("pin_dma before the start", range().collect())?;
    card.unmap(0, PAGES)?;
    check("its memory has gone", range().collect())?;
    check("after that", vec![])?;
    channel.unpin()?;
    card.map(0, PAGES)?;
    check("mapped again", vec![])?;
    card.device.stop_log()?;
    Ok(())
}
