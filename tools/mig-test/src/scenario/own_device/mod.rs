// SPDX-License-Identifier: GPL-2.0
//! A driver author's own device under two QEMUs: `mig-test migrate`. Without its options it is the
//! vendor guide's scratch card, with a program that drives it.
//!
//! The author knows how the guest uses the device and when it is wrong. So the guest runs the
//! author's program and modules, and what they print decides.

mod order;

use std::path::Path;

use anyhow::{ensure, Result};
use serde::Serialize;

use super::bed::{ensure_quiet, kernel_release, load, Bed, Card, Driver, Host};
use super::conformance::source::load_brought;
use super::listener::Listener;
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::qemu::image::Image;
use crate::qemu::migration;
use crate::qemu::vm::Role;
pub use order::regex;
use order::{Example, Order};

/// The option with the words after which the guest migrates.
pub const READY: &str = "ready";
/// The option with the words that are a pass after the last move.
pub const OK: &str = "ok";
/// The option with the words that are a failure at any time.
pub const FAIL: &str = "fail";
/// The option with the number of migrations.
pub const MOVES: &str = "moves";
/// The folder of the job with the author's files for the guest.
pub const GUEST: &str = "guest";

/// The kernel's message about an initramfs that does not fit (init/initramfs.c).
const NO_ROOM: &str = "Initramfs unpacking failed";
/// The file with everything that the guest has said.
const TRANSCRIPT: &str = "guest-output";

/// The vendor guide's card.
const SCRATCH: Example = Example {
    module: "scratch",
    mdev: "scratch/scratch-1",
    moves: 1,
};
/// The example with a BAR in parts.
const DOORBELLS: Example = Example {
    module: "doorbells",
    mdev: "doorbells/doorbells-1",
    moves: 3,
};

/// The author's driver as the test bed knows it.
pub const AUTHORS: Driver = Driver {
    module: "the author's device",
    parent: "",
    properties: "",
    guest: "mig_own=1",
    has_port: false,
};

/// The figures of one migration.
#[derive(Serialize)]
struct Move {
    #[serde(rename = "move")]
    number: usize,
    total_ms: u64,
    downtime_ms: u64,
    setup_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_bytes: Option<u64>,
    pre_copy_bytes: u64,
    stop_copy_bytes: u64,
}

/// What was migrated, and with what.
#[derive(Serialize)]
struct About {
    device: String,
    guest_lines: usize,
    kernel: String,
    qemu: String,
}

/// Migrates a guest with the device, as often as the options say.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    with(ctx, &SCRATCH, &[])
}

/// Migrates a guest with the card with doorbells, of which QEMU maps both parts.
pub fn doorbells(ctx: &mut Ctx) -> Result<Outcome> {
    with(ctx, &DOORBELLS, &["BAR 0 mmaps[0]", "BAR 0 mmaps[1]"])
}

/// Migrates a guest with the device of the options, or of an example, in whose physical memory QEMU
/// shows regions with these names.
fn with(ctx: &mut Ctx, example: &Example, mapped: &[&str]) -> Result<Outcome> {
    let order = Order::of(ctx, example)?;
    let (moves, device) = (order.moves, order.mdev.to_owned());
    let mut listener = Listener::new(ctx, TRANSCRIPT, order.ok.clone(), order.fail)?;
    let kind = prepare(&order.modules, order.mdev)?;
    let program = ctx.job.join("mig-guest");
    let kernel = Path::new(ctx.guest_kernel);
    let bed = Bed {
        qemu: ctx.qemu,
        dir: ctx.dir.clone(),
        image: Image::prepare(kernel, &program, &ctx.dir, &[], order.files)?,
    };
    let (ready, ok) = (order.ready, order.ok);

    ctx.step("booting the guest");
    let mut here = bed.start_with("source", vec![card(&kind)?], Role::Source)?;
    let booted = here.vm.await_ready();
    ensure!(
        !here.vm.guest_log()?.contains(NO_ROOM),
        "the guest's files do not fit into its memory"
    );
    booted?;
    if let Some(ready) = &ready {
        ctx.step(format!(
            "waiting until the guest says \"{}\"",
            ready.as_str()
        ));
        listener.await_words(&mut here.vm, ready)?;
    }
    if !mapped.is_empty() {
        let regions = here.vm.monitor("info mtree -f")?;
        let missing = mapped.iter().find(|name| !regions.contains(**name));
        ensure!(
            missing.is_none(),
            "QEMU does not map {missing:?}: {regions}"
        );
    }
    let mut there = bed.start_with("destination", vec![card(&kind)?], Role::Destination)?;
    let mut figures = Vec::new();
    for number in 1..=moves {
        ctx.step(format!("migration {number} of {moves}"));
        figures.push(migrate(&bed, &mut here, &mut there, &mut listener, number)?);
        listener.await_answer(&mut there.vm)?;
        if number < moves {
            let Host { vm, cards } = here;
            drop(vm);
            let name = if number % 2 == 1 {
                "source"
            } else {
                "destination"
            };
            here = there;
            there = bed.start_with(name, cards, Role::Destination)?;
        }
    }
    listener.has_moved = true;
    match &ok {
        Some(ok) => {
            ctx.step(format!("waiting until the guest says \"{}\"", ok.as_str()));
            listener.await_pass(&mut there.vm, ok)?;
        }
        None => ctx.step("the guest runs on; nothing in it has used the device"),
    }
    ensure_quiet(&there)?;
    ctx.report(figures)?;
    let about = About {
        device,
        guest_lines: listener.said.len(),
        kernel: kernel_release()?,
        qemu: there.vm.version.clone(),
    };
    ctx.report(about)?;
    Ok(Outcome::Passed)
}

/// Loads the driver; returns the type of its device.
fn prepare(modules: &[&str], mdev: &str) -> Result<MdevType> {
    load("vfio_iommu_type1")?;
    load_brought(modules.iter().copied())?;
    MdevType::named(mdev)
}

fn card(kind: &MdevType) -> Result<Card> {
    Ok(Card {
        driver: AUTHORS,
        mdev: kind.create()?,
    })
}

/// Migrates the guest; it may go on using the device meanwhile.
fn migrate(
    bed: &Bed,
    source: &mut Host,
    destination: &mut Host,
    listener: &mut Listener,
    number: usize,
) -> Result<Move> {
    let socket = bed.socket("migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::start(&mut source.vm, &socket, migration::Stop::Never)?;
    let figures = migration::arrive(&mut source.vm, &mut destination.vm)?;
    let sent = source.vm.traffic()?.of(&source.cards[0].mdev.uuid);
    listener.follow(source, destination)?;
    Ok(Move {
        number,
        total_ms: figures.total_ms,
        downtime_ms: figures.downtime_ms,
        setup_ms: figures.setup_ms,
        device_bytes: figures.device_bytes,
        pre_copy_bytes: sent.pre_copy,
        stop_copy_bytes: sent.stop_copy,
    })
}
