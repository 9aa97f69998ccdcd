// SPDX-License-Identifier: GPL-2.0
//! The cost of pinning pages, writing to each of them and unpinning them: through the SDK, and by
//! the same calls of a driver without the SDK.

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use super::card::{register, Card, C, RUST};
use super::clock::{least, ratio, within};
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::dma::PAGE;
use crate::vfio::Mapping;

/// Pages that are pinned at a time: one, some, and as many as the kernel pins in one call.
const PAGES: [usize; 3] = [1, 16, 512];
/// Bytes written to each.
const BYTES: usize = 64;
/// Times that they are pinned, in one access to the card.
const ROUNDS: usize = 20;
/// Times that this is measured.
const TIMES: u64 = 10;
/// The bound for the cost with the SDK, relative to the cost of the calls.
const BOUND: f64 = 1.04;

/// One line of the table.
#[derive(Serialize)]
struct Row {
    pages: usize,
    sdk_instructions: u64,
    c_instructions: u64,
    ratio: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let guest = Arc::new(Mapping::anonymous(register::PAGES_MAX as usize * PAGE)?);
    guest.write(0, &vec![1; guest.len()]);
    let rust = measure(ctx, "the SDK", &Card::new(&RUST, &guest)?)?;
    let c = measure(ctx, "C", &Card::new(&C, &guest)?)?;
    let rows: Vec<Row> = PAGES
        .into_iter()
        .zip(rust.into_iter().zip(c))
        .map(|(pages, (sdk, c))| Row {
            pages,
            sdk_instructions: sdk,
            c_instructions: c,
            ratio: ratio(sdk, c),
        })
        .collect();
    let ratios = rows.iter();
    let ratios = ratios.map(|row| (format!("{} pages", row.pages), row.ratio));
    let outcome = within(BOUND, "the C driver", ratios);
    ctx.report(rows)?;
    Ok(outcome)
}

/// Returns the cost of a round for each number of pages.
fn measure(ctx: &mut Ctx, what: &str, card: &Card) -> Result<Vec<u64>> {
    let mut costs = Vec::new();
    for pages in PAGES {
        ctx.step(format!("{pages} pages through {what}"));
        card.choose(0, pages, BYTES)?;
        let rounds = least(TIMES, || card.set(register::RUN, ROUNDS))?;
        // The access to the card is measured elsewhere.
        let access = least(TIMES, || card.set(register::RUN, 0))?;
        costs.push((rounds - access) / ROUNDS as u64);
    }
    Ok(costs)
}
