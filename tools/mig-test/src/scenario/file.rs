// SPDX-License-Identifier: GPL-2.0
//! A guest that is stopped, saved to a file and restored from it, as by `virsh save` and `restore`.

use anyhow::{ensure, Result};

use super::bed::{ensure_quiet, Bed, Checkpoint, BOTH};
use super::mgpu::guest::{draw, shows, BATCHES};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;

/// The GPU's index among the devices.
const GPU: usize = 1;
/// The number of its picture.
const PICTURE: u32 = 2;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let bed = Bed::prepare(ctx)?;
    let (mut source, before) = bed.running_source(ctx, &BOTH)?;
    draw(&mut source.vm, GPU, PICTURE)?;
    source.vm.gpu_batches(BATCHES)?;

    ctx.step("stopping it, and saving it to a file");
    let file = bed.dir.join("saved");
    migration::save(&mut source.vm, &file)?;
    source.vm.quit()?;
    ensure_quiet(&source)?;

    ctx.step("starting it from the file");
    let mut destination = bed.start_of("destination", &BOTH, Role::Destination)?;
    migration::load(&mut destination.vm, &file)?;
    destination.vm.continue_console(&mut source.vm);
    Checkpoint::check(&mut destination, &before)?;
    ensure!(
        shows(&mut destination.vm, GPU, PICTURE)?,
        "the screen shows another picture than before"
    );
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}
