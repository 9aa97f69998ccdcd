// SPDX-License-Identifier: GPL-2.0
//! The SDK's `GuestMemory`, call by call: copies, pins and refusals, also of I/O memory, the state
//! after an error, an unmap or a close, and the device's DMA log.

mod array;
mod calls;
pub mod card;
pub mod device;
mod io_memory;
mod limit;
mod log;
mod quiesced;
mod revoke;
mod storm;

use std::path::Path;

use anyhow::Result;

use self::card::{Card, PAGES};
use super::conformance::checks::Checks;
use super::Ctx;
use crate::event::Outcome;
use crate::health::pinned;
use crate::vfio::device::Device;
use crate::vfio::iommufd;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let mut checks = Checks::default();
    let before = pinned()?;
    let mut spaces = vec![(
        "type1 container",
        Device::open as fn(&Path) -> Result<Device>,
    )];
    if iommufd::is_there() {
        spaces.push(("iommufd", Device::open_cdev));
    }
    for (name, open) in spaces {
        ctx.step(format!("copies and pins, with guest memory in: {name}"));
        let card = Card::new(open, PAGES)?;
        calls::copies(&mut checks, &card)?;
        calls::pins(&mut checks, &card)?;
        ctx.step("arrays of structures");
        array::run(&mut checks, &card)?;
        ctx.step("pins of I/O memory");
        io_memory::run(&mut checks, &card)?;
        if card.device.has_log() {
            ctx.step("what the DMA log says of them");
            log::run(&mut checks, &card)?;
            array::log(&mut checks, &card)?;
        }
        ctx.step("a device that is quiesced");
        quiesced::run(&mut checks, &card)?;
        ctx.step("memory that goes");
        revoke::run(&mut checks, &card)?;
        let figures = storm::run(ctx, &mut checks, &card)?;
        ctx.step(format!("{figures}"));
        if card.device.group().is_ok() {
            ctx.step("a device that is to stop while it copies");
            quiesced::while_it_copies(&mut checks, &card)?;
            ctx.step("several busy cards in one container");
            storm::crowd(&mut checks, &card)?;
            ctx.step("a card that is closed and opened again meanwhile");
            storm::reopens(&mut checks, &card)?;
            ctx.step("several cards whose hardware takes its time to stop");
            storm::slow(&mut checks, &card)?;
            ctx.step("an unmap that is under way");
            revoke::under_way(&mut checks, &card)?;
            ctx.step("a card that is being opened");
            revoke::opening(&mut checks, &card)?;
        }
        checks.equal("pages still pinned", pinned()?, before);
        revoke::close(&mut checks, card)?;
        checks.equal("pages pinned with the card gone", pinned()?, before);
    }
    ctx.step("a limit on locked memory");
    limit::run(&mut checks)?;
    checks.equal("pages still pinned at the end", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}
