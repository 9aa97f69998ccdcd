// SPDX-License-Identifier: GPL-2.0
//! A physical device beside the card in one container: it may write anywhere, so every page is
//! dirty for as long as it is there, and only what commands touch once it has gone.

use anyhow::Result;

use super::account::pages;
use super::card::{iova, Card, Command, DATA, GUEST, IOVA};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::physical::{Physical, EDU};
use crate::scenario::Ctx;
use crate::vfio::dma::PAGE;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let other = Physical::bind(EDU)?;
    let mut checks = Checks::default();
    let card = Card::started()?;
    let group = card.device.group()?;
    let dirty = || group.take_dirty(IOVA, GUEST).map(|pages| pages.len());
    let fill = [Command::fill_guest(iova(DATA), 9 * PAGE, 1)];
    let written = pages(DATA..DATA + 9 * PAGE).len();
    let all = GUEST / PAGE;

    group.track_dirty(true)?;
    card.execute(&fill)?;
    checks.equal("pages with the card alone", dirty()?, written);
    checks.equal("and once more", dirty()?, 0);

    ctx.step("a physical device joins the container");
    let member = card.device.open_beside(other.path())?;
    for report in 0..3 {
        let what = format!("pages with a physical device, report {report}");
        checks.equal(what, dirty()?, all);
    }
    card.execute(&fill)?;
    checks.equal("pages with both at work", dirty()?, all);

    ctx.step("the physical device leaves");
    drop(member);
    checks.equal("what it may have written before", dirty()?, all);
    checks.equal("pages after that", dirty()?, 0);
    card.execute(&fill)?;
    checks.equal("pages with the card alone again", dirty()?, written);
    group.track_dirty(false)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}
