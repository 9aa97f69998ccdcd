// SPDX-License-Identifier: GPL-2.0
//! Commands against a model of them; interrupts; reset at any moment; the picture; the VRAM budget.

use anyhow::Result;
use mgpu_model::uapi::{control, display, interrupt, reg, BAR_VRAM, FORMAT_XRGB8888};
use mig_common::random::Random;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_GFX_PLANE_TYPE_DMABUF as DMABUF, VFIO_GFX_PLANE_TYPE_PROBE as PROBE,
    VFIO_GFX_PLANE_TYPE_REGION as REGION, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX,
};

use super::card::{contents, iova, Card, Command, FENCE, MODULE, VRAM};
use super::faults;
use super::model::{random_command, Area, Shadow};
use super::random;
use crate::event::Outcome;
use crate::mdev::{random_uuid, MdevType};
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::irq::Event;

/// Rings full of random commands.
const RINGS: usize = 24;
/// Resets of each kind.
const RESETS: usize = 12;
/// MiB of VRAM of all cards together, unless the module is told otherwise.
const BUDGET_MIB: u32 = 1024;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    let card = Card::started()?;
    ctx.step("random commands against a model");
    model(&mut checks, &card, &mut random)?;
    ctx.step("commands that fail");
    faults::run(&mut checks, &card)?;
    ctx.step("interrupts");
    interrupts(&mut checks, &card)?;
    ctx.step("the picture");
    picture(&mut checks, &card)?;
    ctx.step("reset at any moment");
    resets(&mut checks, &card, &mut random)?;
    drop(card);
    ctx.step("the VRAM budget");
    budget(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn model(checks: &mut Checks, card: &Card, random: &mut Random) -> Result<()> {
    let mut shadow = Shadow {
        guest: contents(&card.guest),
        vram: contents(&card.vram),
    };
    checks.that("VRAM is not zero at first", shadow.vram == vec![0; VRAM]);
    for ring in 0..RINGS {
        let count = 1 + random.below(60);
        let commands: Vec<Command> = (0..count)
            .map(|_| random_command(random, &Area::WHOLE))
            .collect();
        let mark = random.next_u64().to_le_bytes();
        let at = random.below(VRAM - mark.len());
        card.vram.write(at, &mark);
        shadow.vram[at..at + mark.len()].copy_from_slice(&mark);
        card.execute(&commands)?;
        commands.iter().for_each(|command| shadow.execute(command));
        checks.equal(format!("error in ring {ring}"), card.get(reg::ERROR)?, 0);
        for (name, memory, wanted, from) in [
            ("VRAM", &card.vram, &shadow.vram, 0),
            ("guest memory", &*card.guest, &shadow.guest, FENCE),
        ] {
            let found = contents(memory);
            // Whole slices first: they are compared much faster than their bytes are.
            if found[from..] != wanted[from..] {
                let at = (from..found.len())
                    .find(|at| found[*at] != wanted[*at])
                    .unwrap_or(from);
                checks.that(format!("ring {ring}: {name} differs at {at:#x}"), false);
            }
        }
    }
    Ok(())
}

fn interrupts(checks: &mut Checks, card: &Card) -> Result<()> {
    let event = Event::new()?;
    let index = VFIO_PCI_MSIX_IRQ_INDEX;
    card.device
        .connect(index, VFIO_IRQ_SET_ACTION_TRIGGER, event.number())?;
    card.set(reg::INTERRUPT, interrupt::ALL)?;
    let fence = |value| card.execute(&[Command::fence(iova(FENCE), value)]);

    fence(1)?;
    checks.equal("messages of what is not enabled", event.take(), Ok(0));
    checks.equal(
        "INTERRUPT all the same",
        card.get(reg::INTERRUPT)?,
        interrupt::FENCE,
    );
    card.set(reg::INTERRUPT, interrupt::ALL)?;
    card.set(reg::INTERRUPT_ENABLE, interrupt::FENCE)?;
    for round in 2..5 {
        card.submit(&[Command::fence(iova(FENCE), round)])?;
        checks.equal(
            format!("messages of fence {round}"),
            event.await_signal(),
            Ok(1),
        );
        card.set(reg::INTERRUPT, card.get(reg::INTERRUPT)?)?;
        checks.equal("the fence that it tells of", card.fence_register()?, round);
    }
    fence(5)?;
    fence(6)?;
    checks.equal("messages of two fences at once", event.take(), Ok(1));
    card.set(reg::INTERRUPT, interrupt::ERROR)?;
    checks.equal("messages of an acknowledgement short", event.take(), Ok(1));
    card.set(reg::INTERRUPT, interrupt::ALL)?;
    checks.equal("messages of a full acknowledgement", event.take(), Ok(0));
    card.device.disable(index)?;
    fence(7)?;
    checks.equal("messages of what is switched off", event.take(), Ok(0));
    card.set(reg::INTERRUPT_ENABLE, 0)
}

fn picture(checks: &mut Checks, card: &Card) -> Result<()> {
    let query = |flags| card.device.query_plane(flags, None);
    checks.equal(
        "probing for a region",
        query(PROBE | REGION).map(drop),
        Ok(()),
    );
    checks.refused("probing for a dma-buf", query(PROBE | DMABUF), Errno::INVAL);
    checks.refused("asking for a dma-buf", query(DMABUF), Errno::INVAL);
    let short = card.device.query_plane(REGION, Some(63));
    checks.refused("asking with too short a structure", short, Errno::INVAL);
    let off = query(REGION).map(|plane| (plane.format, plane.size));
    checks.equal("the picture while it is off", off, Ok((0, 0)));

    for (register, value) in [
        (reg::DISPLAY_WIDTH, 101),
        (reg::DISPLAY_HEIGHT, 30),
        (reg::DISPLAY_STRIDE, 408),
        (reg::DISPLAY_CONTROL, display::ENABLE),
    ] {
        card.set(register, value)?;
    }
    let on = query(REGION)?;
    checks.equal("format", on.format, FORMAT_XRGB8888);
    let size = (on.width, on.height, on.stride, on.size);
    checks.equal("size", size, (101, 30, 408, 12288));
    checks.equal("region", on.region, BAR_VRAM as u32);
    card.set(reg::DISPLAY_CONTROL, 0)?;
    checks.equal("format once it is off", query(REGION)?.format, 0);
    Ok(())
}

fn resets(checks: &mut Checks, card: &Card, random: &mut Random) -> Result<()> {
    for round in 0..2 * RESETS {
        let of_function = round % 2 == 0;
        card.start()?;
        let commands: Vec<Command> = (0..50)
            .map(|_| random_command(random, &Area::WHOLE))
            .collect();
        card.submit(&commands)?;
        for _ in 0..random.size(2000) {
            card.get(reg::RING_HEAD)?;
        }
        let what = if of_function { "reset" } else { "RESET" };
        if of_function {
            card.device.reset()?;
        } else {
            card.set(reg::CONTROL, control::RESET)?;
        }
        for register in [
            reg::CONTROL,
            reg::INTERRUPT,
            reg::ERROR,
            reg::RING_BASE_LO,
            reg::RING_SIZE,
            reg::RING_HEAD,
            reg::RING_TAIL,
            reg::FENCE_LO,
        ] {
            let name = format!("register {register:#x} after {what} {round}");
            checks.equal(name, card.get(register)?, 0);
        }
        if of_function {
            let busy = card.get(reg::STATUS)?;
            checks.equal(format!("STATUS after {what} {round}"), busy, 0);
            let zero = contents(&card.vram) == vec![0; VRAM];
            checks.that(format!("VRAM is not zero after {what} {round}"), zero);
        }
        card.start()?;
        card.execute(&[Command::fence(iova(FENCE), 99)])?;
        checks.equal(
            format!("a fence after {what} {round}"),
            card.fence_register()?,
            99,
        );
    }
    Ok(())
}

fn budget(checks: &mut Checks) -> Result<()> {
    let kinds = [16, 64, 256].map(|mib| MdevType::find(MODULE, &format!("mgpu-{mib}")));
    let [small, middle, large] = kinds;
    let (small, middle, large) = (small?, middle?, large?);
    let free = || anyhow::Ok((small.available()?, middle.available()?, large.available()?));
    let left = |mib: u32| (mib / 16, mib / 64, mib / 256);
    checks.equal("free with no card", free()?, left(BUDGET_MIB));
    let _one = small.create()?;
    checks.equal("free with a small card", free()?, left(BUDGET_MIB - 16));
    let mut cards = vec![large.create()?, large.create()?, large.create()?];
    checks.equal("free with large ones", free()?, left(BUDGET_MIB - 784));
    let refused = large.write_create(&random_uuid()?);
    let refused = refused.err().and_then(|error| Errno::from_io_error(&error));
    checks.equal("a card beyond the budget", refused, Some(Errno::NOSPC));
    checks.equal("free after it", free()?, left(BUDGET_MIB - 784));
    cards.pop();
    checks.equal("free with one removed", free()?, left(BUDGET_MIB - 528));
    Ok(())
}
