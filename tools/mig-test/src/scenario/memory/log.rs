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
    let check = |checks: &mut Checks, what: &str, pages: Vec<usize>| -> Result<()> {
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
    check(checks, "read", vec![])?;
    channel.write(iova(at - 1), &[1, 2])?;
    check(checks, "write across a page's end", vec![FIRST - 1, FIRST])?;
    let _ = channel.write(iova(PAGES * PAGE - 10), &[0; 20]);
    check(checks, "write of memory that ends", vec![PAGES - 1])?;
    // Half a page is reported, twice, and then the whole: it is dirty until a report has had all.
    channel.write(iova(at), &[1])?;
    for (from, len) in [(at + PAGE / 2, PAGE), (at, PAGE / 2)] {
        let dirty = card.device.take_log(iova(from), len, PAGE)?;
        let what = format!("dirty: {len:#x} bytes from {from:#x}");
        checks.equal(what, dirty, vec![0]);
    }
    let whole = card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
    checks.equal("dirty: a page reported in parts", whole, vec![FIRST]);

    channel.pin(Kind::Read, iova(at), len)?;
    channel.kept_read(0, 8000)?;
    check(checks, "pin_read and a read", vec![])?;
    channel.pin(Kind::Write, iova(at), len)?;
    channel.kept_read(0, 8000)?;
    check(checks, "pin_write and a read", vec![])?;
    channel.kept_write(3 * PAGE - 1, &[1, 2])?;
    channel.kept_write(7 * PAGE, &[1; 2 * PAGE])?;
    check(
        checks,
        "pin_write and writes",
        [2, 3, 7, 8].map(|page| FIRST + page).into(),
    )?;
    channel.unpin()?;
    check(checks, "its end", vec![])?;

    channel.pin(Kind::Dma, iova(at + 1), len - 1)?;
    check(checks, "pin_dma", range().collect())?;
    check(checks, "pin_dma, at the next report", range().collect())?;
    channel.unpin()?;
    check(checks, "its end", range().collect())?;
    check(checks, "after its end", vec![])?;

    channel.pin(Kind::DmaRead, iova(at), len)?;
    check(checks, "pin_dma_read", vec![])?;
    channel.unpin()?;
    check(checks, "its end", vec![])?;

    channel.pin(Kind::Dma, iova(at), len)?;
    card.device.stop_log()?;
    start()?;
    check(checks, "pin_dma before the start", range().collect())?;
    card.unmap(0, PAGES)?;
    check(checks, "its memory has gone", range().collect())?;
    check(checks, "after that", vec![])?;
    channel.unpin()?;
    card.map(0, PAGES)?;
    check(checks, "mapped again", vec![])?;
    card.device.stop_log()?;
    Ok(())
}
