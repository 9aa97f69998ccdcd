// SPDX-License-Identifier: GPL-2.0
//! What a pin for hardware costs beside many others that live: to pin it, to unpin it, to report
//! the DMA log, and to take all of them back in one unmap.

use anyhow::{ensure, Result};
use serde::Serialize;

use super::clock::{now, ratio, within};
use crate::event::Outcome;
use crate::scenario::memory::card::{iova, register, Card, IOVA};
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;

/// Pins that live at a time.
const FEW: usize = 1_000;
const MANY: usize = 30_000;
/// Pages of guest memory; each is pinned over and over.
const PAGES: usize = 512;
/// How many times as much a pin may cost beside MANY as beside FEW. What looks at all others costs
/// 30 times as much.
const BOUND: f64 = 2.0;

/// Instructions a pin.
#[derive(Serialize)]
struct Row {
    what: &'static str,
    beside_few: u64,
    beside_many: u64,
    ratio: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let card = Card::new(Device::open, PAGES)?;
    let few = measure(ctx, &card, FEW)?;
    let many = measure(ctx, &card, MANY)?;
    let rows: Vec<Row> = few
        .into_iter()
        .zip(many)
        .map(|((what, few), (_, many))| Row {
            what,
            beside_few: few,
            beside_many: many,
            ratio: ratio(many, few),
        })
        .collect();
    let ratios = rows.iter().map(|row| (row.what.to_owned(), row.ratio));
    let outcome = within(BOUND, "the same beside few pins", ratios);
    ctx.report(rows)?;
    Ok(outcome)
}

/// What each step costs, for one of so many pins.
fn measure(ctx: &mut Ctx, card: &Card, pins: usize) -> Result<Vec<(&'static str, u64)>> {
    ctx.step(format!("{pins} pins"));
    let channel = card.channel(0);
    let pin = || -> Result<()> {
        channel.call(register::PIN_MANY, iova(0), PAGE, pins)?;
        ensure!(
            channel.get(register::WALKED)? as usize == pins,
            "not all could be pinned"
        );
        Ok(())
    };
    let mut costs = Vec::new();
    let mut each = |what, step: &dyn Fn() -> Result<()>| -> Result<()> {
        let start = now();
        step()?;
        costs.push((what, (now() - start) / pins as u64));
        Ok(())
    };
    each("pin", &pin)?;
    if card.device.has_log() {
        card.device
            .start_log(PAGE as u64, &[(IOVA, (PAGES * PAGE) as u64)])?;
        each("report", &|| {
            card.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
            Ok(())
        })?;
        card.device.stop_log()?;
    }
    each("unpin", &|| Ok(channel.unpin()?))?;
    pin()?;
    each("unmap", &|| card.unmap(0, PAGES).map(drop))?;
    channel.unpin()?;
    card.map(0, PAGES)?;
    Ok(costs)
}
