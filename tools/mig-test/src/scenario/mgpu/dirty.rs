// SPDX-License-Identifier: GPL-2.0
//! What the type1 container reports of guest memory, page by page against what the commands touched.

use anyhow::Result;

use super::account::{self, Account};
use super::card::{Card, GUEST, IOVA};
use crate::event::Outcome;
pub use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let card = Card::started()?;
    card.device.group()?.track_dirty(true)?;
    let container = Account {
        name: "type1 container",
        take: |card| {
            let pages = card.device.group()?.take_dirty(IOVA, GUEST)?;
            Ok(pages.into_iter().collect())
        },
        exact: false,
    };
    account::check(ctx, &mut checks, &card, &container)?;
    card.device.group()?.track_dirty(false)?;
    checks.equal("pages still pinned with the card idle", pinned()?, before);
    drop(card);
    checks.equal("pages still pinned with the card gone", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}
