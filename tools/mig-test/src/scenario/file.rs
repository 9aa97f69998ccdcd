// SPDX-License-Identifier: GPL-2.0
//! A guest that is stopped, saved to a file and started from it, as `virsh save` and `restore` do.

use anyhow::{ensure, Result};

use super::bed::{
    ensure_quiet, load, Bed, Card, Checkpoint, LINES, MGPU_16, MGPU_RS, MTTY_RS, ONE_PORT,
};
use super::mgpu::guest::{draw, ensure_whole, go_on, shows, BATCHES};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;

/// What the GPU's work follows from.
const SEED: u64 = 2;
/// The GPU's place among the devices.
const GPU: usize = 1;
/// The number of its picture.
const PICTURE: u32 = 2;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    load(MGPU_RS.module)?;
    let bed = Bed::prepare(ctx)?;
    let cards = || -> Result<Vec<Card>> {
        Ok(vec![
            Card::make(&MTTY_RS, ONE_PORT)?,
            Card::make(&MGPU_RS, MGPU_16)?,
        ])
    };
    ctx.step("booting the guest");
    let mut source = bed.start_with("source", cards()?, Role::Source)?;
    source.vm.await_ready()?;
    draw(&mut source.vm, GPU, PICTURE)?;
    source.vm.gpu_work(SEED)?;
    source.vm.gpu_batches(BATCHES)?;
    source.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut source.vm)?;

    ctx.step("stopping it, and saving it to a file");
    let file = bed.dir.join("saved");
    migration::save(&mut source.vm, &file)?;
    source.vm.quit()?;
    ensure_quiet(&source)?;

    ctx.step("starting it from the file");
    let mut destination = bed.start_with("destination", cards()?, Role::Destination)?;
    migration::load(&mut destination.vm, &file)?;
    destination.vm.continue_console(&mut source.vm);
    Checkpoint::check(&mut destination.vm, &before)?;
    ensure_whole(&go_on(&mut destination.vm)?)?;
    ensure!(
        shows(&mut destination.vm, GPU, PICTURE)?,
        "the screen shows another picture than before"
    );
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}
