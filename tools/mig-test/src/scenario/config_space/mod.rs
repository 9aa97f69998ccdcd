// SPDX-License-Identifier: GPL-2.0
//! Configuration space of devices with capabilities: what is in it, what a guest can write, what
//! the driver learns, function-level reset, Bus Master Enable, and what migrates.

mod card;
mod dma;
pub mod guest;
mod layout;
mod moves;
mod resets;

use anyhow::Result;

use super::conformance::checks::Checks;
use super::{load, Ctx};
use crate::event::Outcome;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(card::MODULE)?;
    let mut checks = Checks::default();
    ctx.step("capabilities, and what a guest can write");
    layout::run(&mut checks)?;
    ctx.step("what the driver learns of writes");
    layout::learned(&mut checks)?;
    ctx.step("function-level reset in each state");
    resets::run(&mut checks)?;
    ctx.step("guest memory and Bus Master Enable");
    dma::run(&mut checks)?;
    ctx.step("from one device to another");
    moves::run(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}
