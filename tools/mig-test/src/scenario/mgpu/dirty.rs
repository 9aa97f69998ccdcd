// SPDX-License-Identifier: GPL-2.0
//! The dirty pages of guest memory that the type1 container reports, compared page by page with
//! those that the commands touched.

use anyhow::Result;

use super::account;
use super::card::{Card, GUEST, IOVA};
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::account::Account;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let card = Card::started()?;
    let container = Account::Container;
    container.start(&card.device, IOVA, GUEST)?;
    account::check(ctx, &mut checks, &card, container)?;
    container.stop(&card.device)?;
    checks.equal("pages still pinned with the card idle", pinned()?, before);
    drop(card);
    checks.equal("pages still pinned with the card gone", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}
