// SPDX-License-Identifier: GPL-2.0
//! One device's VRAM is mapped among the guest's memory, as QEMU does it, so a copy of another
//! device reaches it: that is a write like any other, and there is none in the P2P states.

use std::sync::Arc;

use anyhow::{Context, Result};
use mgpu_model::pages::PAGE;
use mgpu_model::uapi::{reg, BAR_VRAM};

use super::card::{Card, Command, GUEST, IOVA, VRAM};
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::dma::{Access, Dma};
use crate::vfio::migration::State;

/// Where the writer's own guest memory is.
const BESIDE: u64 = IOVA + 2 * GUEST as u64;
/// Where it finds the other card's VRAM.
const PEER: u64 = 0x2_0000_0000;
/// Looks at a device that is to do nothing. What it would do takes it one or two.
const LOOKS: usize = 2000;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let saved = Card::started()?;
    let writer = Card::started_beside(&saved, BESIDE)?;
    let region = saved.device.region(BAR_VRAM as u32, None)?;
    let vram = Arc::new(saved.device.map(region.offset, VRAM)?);
    saved.device.space.map_dma(Dma {
        iova: PEER,
        memory: &vram,
        offset: 0,
        len: VRAM,
        access: Access::ReadWrite,
    })?;
    // The container keeps it mapped. Here it would keep the device open.
    drop(vram);
    let write = |value: u32| Command::fill_guest(PEER, 64, value);

    ctx.step("writing to the other card");
    writer.execute(&[write(1)])?;
    checks.equal("error of a copy", writer.get(reg::ERROR)?, 0);
    checks.equal("what a copy has written", first(&saved), 1);
    let file = saved.device.set_state(State::PreCopy)?;
    let file = file.context("PRE_COPY came without a file")?;
    file.read_to_end(1 << 20)?;
    checks.equal("dirty, all read", file.precopy_info(None, 0)?.dirty, 0);
    writer.execute(&[write(2)])?;
    let dirty = file.precopy_info(None, 0)?.dirty;
    checks.that(format!("{dirty} bytes dirty"), dirty >= PAGE as u64);

    ctx.step("P2P states");
    saved.device.set_state(State::PreCopyP2p)?;
    writer.device.set_state(State::RunningP2p)?;
    let head = writer.get(reg::RING_HEAD)?;
    writer.submit(&[write(3)])?;
    saved.device.set_state(State::StopCopy)?;
    for _ in 0..LOOKS {
        if writer.get(reg::RING_HEAD)? != head {
            checks.that("a command runs in RUNNING_P2P", false);
            break;
        }
    }
    checks.equal("written to what is being saved", first(&saved), 2);
    writer.device.set_state(State::Running)?;
    writer.await_idle()?;
    checks.equal("what was put off", first(&saved), 3);
    drop((writer, saved));
    checks.equal("pages still pinned", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// The first word of VRAM.
fn first(card: &Card) -> u32 {
    let mut bytes = [0; 4];
    card.vram.read(0, &mut bytes);
    u32::from_le_bytes(bytes)
}
