// SPDX-License-Identifier: GPL-2.0
//! A guest that migrates while its INTx is raised in the interrupt controller and its card does not
//! assert it any more. The raised line migrates with the guest, and must be lowered at the
//! destination.

use anyhow::{bail, ensure, Context, Result};
use serde_json::json;

use super::bed::{
    ensure_quiet, load, skipped_without_v2, Bed, Card, Checkpoint, Driver, Host, LINES, MTTY_C,
    MTTY_RS, ONE_PORT,
};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::interrupt::{ensure_no_storm, stop_at_the_moment, watch};
use crate::qemu::migration;
use crate::qemu::vm::Role;

/// The number of migrations of each kind, unless the option `moves` overrides it.
const MOVES: usize = 3;

/// A driver with QEMU's default, and with interrupts that QEMU handles instead of KVM.
struct Paths {
    usual: Driver,
    by_qemu: Driver,
}

const OURS: Paths = Paths {
    usual: MTTY_RS,
    by_qemu: Driver {
        properties: ",x-no-kvm-intx=on",
        ..MTTY_RS
    },
};

/// Expected to fail; for reference.
const MAINLINE: Paths = Paths {
    usual: MTTY_C,
    by_qemu: Driver {
        properties: ",x-no-kvm-intx=on,x-device-dirty-page-tracking=off",
        ..MTTY_C
    },
};

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let moves = ctx.number("moves", MOVES)?;
    let paths = match ctx.options.get("driver").map(String::as_str) {
        None | Some("mtty_rs") => OURS,
        Some("mtty") => {
            if let Some(skipped) = skipped_without_v2(ctx) {
                return Ok(skipped);
            }
            MAINLINE
        }
        Some(_) => bail!("the option driver is mtty_rs or mtty"),
    };
    load(paths.usual.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("QEMU takes the interrupt at both ends");
    let by_qemu = relay(ctx, &bed, &paths.by_qemu, moves);
    ctx.step("KVM takes it at the source");
    let by_kvm = copies(ctx, &bed, &paths.usual, moves);
    let failures: Vec<String> = [("by QEMU", by_qemu), ("by KVM", by_kvm)]
        .into_iter()
        .filter_map(|(path, result)| Some(format!("{path}: {:#}", result.err()?)))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(Outcome::Passed)
}

/// Migrates so that each destination is the next source.
fn relay(ctx: &mut Ctx, bed: &Bed, driver: &Driver, moves: usize) -> Result<()> {
    let (mut here, before) = boot(bed, driver)?;
    for number in 1..=moves {
        stop(ctx, &mut here, number)?;
        let file = bed.dir.join("saved");
        migration::save(&mut here.vm, &file)?;
        here.vm.quit()?;
        let Host {
            vm: mut left,
            cards,
        } = here;
        here = bed.start_with("next", cards, Role::Destination)?;
        here.vm.continue_console(&mut left);
        watch(&mut here.vm)?;
        migration::load(&mut here.vm, &file)?;
        check(&mut here, &before, number)?;
    }
    Ok(())
}

/// Migrates so that the guest continues at the source and each destination has a copy, because a
/// destination cannot be a source with QEMU's default.
fn copies(ctx: &mut Ctx, bed: &Bed, driver: &Driver, moves: usize) -> Result<()> {
    let (mut source, before) = boot(bed, driver)?;
    for number in 1..=moves {
        stop(ctx, &mut source, number)?;
        let file = bed.dir.join("saved");
        migration::save(&mut source.vm, &file)?;
        let cards = vec![Card::make(driver, ONE_PORT)?];
        let mut copy = bed.start_with("copy", cards, Role::Destination)?;
        watch(&mut copy.vm)?;
        migration::load(&mut copy.vm, &file)?;
        check(&mut copy, &before, number)?;
        drop(copy);
        source.vm.command("cont", json!({}))?;
    }
    Ok(())
}

fn boot(bed: &Bed, driver: &Driver) -> Result<(Host, Checkpoint)> {
    let mut host = bed.start("first", driver, ONE_PORT, Role::Source)?;
    host.vm.await_ready()?;
    host.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut host.vm)?;
    Ok((host, before))
}

fn stop(ctx: &mut Ctx, host: &mut Host, number: usize) -> Result<()> {
    let stops = stop_at_the_moment(&mut host.vm)?;
    ctx.step(format!(
        "move {number}: of {} stops {} had a raised line",
        stops.all, stops.raised
    ));
    Ok(())
}

fn check(host: &mut Host, before: &Checkpoint, number: usize) -> Result<()> {
    let moved = || format!("after move {number}");
    Checkpoint::check(host, before).with_context(moved)?;
    ensure_no_storm(&mut host.vm).with_context(moved)?;
    if host.cards[0].driver.module == MTTY_RS.module {
        ensure_quiet(host)?;
    }
    Ok(())
}
