// SPDX-License-Identifier: GPL-2.0
//! A guest whose own user space has the card, through uio_pci_generic or vfio-pci of its kernel.
//!
//! These drivers know nothing of the card but what PCI defines for every function. Interrupt Status
//! tells them that an interrupt is the card's, and Interrupt Disable keeps the line low until user
//! space has served the card. A round has two interrupts: one when the card asserts its line, and
//! one when INTx is enabled while the line is still asserted. The guest's driver counts them, and
//! so does its kernel.

use anyhow::{anyhow, ensure, Result};
use mig_common::message::Interrupts;
use serde::Serialize;

use super::bed::{ensure_quiet, load, Bed, Driver, MTTY_RS, ONE_PORT};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::{Role, Vm};
use mig_common::modules;

/// Rounds at each place.
const ROUNDS: u64 = 50;
/// What the guest's kernel says when it gives up an interrupt line that no driver has claimed.
const GIVEN_UP: &str = "nobody cared";

const UIO: Driver = Driver {
    guest: "mig_intx=uio",
    ..MTTY_RS
};

const VFIO: Driver = Driver {
    guest: "mig_intx=vfio",
    ..MTTY_RS
};

/// The guest's counts at the end.
#[derive(Serialize)]
struct Report {
    rounds: u64,
    told: u64,
    taken: u64,
}

/// Tests uio_pci_generic. The guest migrates in the middle of a round, with the line asserted and
/// INTx disabled.
pub fn uio(ctx: &mut Ctx) -> Result<Outcome> {
    load(UIO.module)?;
    let bed = Bed::prepare_with(ctx, modules::UIO)?;
    ctx.step("booting the guest");
    let mut source = bed.start("source", &UIO, ONE_PORT, Role::Source)?;
    source.vm.await_ready()?;
    ctx.step(format!("{ROUNDS} rounds at the source"));
    let rounds = |vm: &mut Vm| vm.intx(&format!("rounds {ROUNDS}"));
    ensure_exact(
        &counted(&mut source.vm, rounds)?,
        ROUNDS,
        2 * ROUNDS,
        2 * ROUNDS,
    )?;
    let raised = counted(&mut source.vm, |vm| vm.intx("raise"))?;
    ensure_exact(&raised, ROUNDS, 2 * ROUNDS + 1, 2 * ROUNDS + 1)?;

    ctx.step("migrating with the line asserted and INTx disabled");
    let mut destination = bed.start("destination", &UIO, ONE_PORT, Role::Destination)?;
    let socket = bed.socket("migration");
    migration::migrate(&mut source.vm, &mut destination.vm, &socket)?;
    let finished = counted(&mut destination.vm, |vm| vm.intx("finish"))?;
    ensure_exact(&finished, ROUNDS + 1, 2 * ROUNDS + 2, 2 * ROUNDS + 2)?;
    ctx.step(format!("{ROUNDS} rounds at the destination"));
    let all = counted(&mut destination.vm, rounds)?;
    ensure_exact(&all, 2 * ROUNDS + 1, 4 * ROUNDS + 2, 4 * ROUNDS + 2)?;
    ensure_quiet(&source)?;
    ensure_quiet(&destination)?;
    report(ctx, &all)?;
    Ok(Outcome::Passed)
}

/// Tests vfio-pci, behind the guest's own IOMMU.
pub fn vfio(ctx: &mut Ctx) -> Result<Outcome> {
    load(VFIO.module)?;
    let bed = Bed::prepare_with_iommu(ctx)?;
    ctx.step("booting the guest");
    let mut host = bed.start("guest", &VFIO, ONE_PORT, Role::Source)?;
    host.vm.await_ready()?;
    ctx.step(format!("{ROUNDS} rounds"));
    let all = counted(&mut host.vm, |vm| vm.intx(&format!("rounds {ROUNDS}")))?;
    // When the line is still asserted, the guest's vfio-pci signals within the unmask and leaves
    // INTx disabled. So its kernel takes one interrupt in each round.
    ensure_exact(&all, ROUNDS, 2 * ROUNDS, ROUNDS)?;
    ensure_quiet(&host)?;
    report(ctx, &all)?;
    Ok(Outcome::Passed)
}

/// Has the guest do something, and demands that its kernel has not given the line up meanwhile.
fn counted(vm: &mut Vm, order: impl FnOnce(&mut Vm) -> Result<Interrupts>) -> Result<Interrupts> {
    let result = order(vm);
    let log = vm.guest_log()?;
    match log.lines().find(|line| line.contains(GIVEN_UP)) {
        None => result,
        Some(line) => {
            let given_up = format!("the guest's kernel has given the line up: {}", line.trim());
            Err(match result {
                Ok(_) => anyhow!(given_up),
                Err(error) => error.context(given_up),
            })
        }
    }
}

/// Demands that the guest has finished so many rounds, that its user space was told so many
/// interrupts, and that its kernel has taken so many, all of which a driver has claimed.
fn ensure_exact(found: &Interrupts, rounds: u64, told: u64, taken: u64) -> Result<()> {
    let exact = Interrupts {
        rounds,
        told,
        taken,
        unclaimed: 0,
    };
    ensure!(
        *found == exact,
        "the guest has counted {found:?}, and should have {exact:?}"
    );
    Ok(())
}

fn report(ctx: &mut Ctx, all: &Interrupts) -> Result<()> {
    ctx.report(Report {
        rounds: all.rounds,
        told: all.told,
        taken: all.taken,
    })
}
