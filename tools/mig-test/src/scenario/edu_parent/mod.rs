// SPDX-License-Identifier: GPL-2.0
//! A card of the lab VM as a parent: two guests share its DMA engine, and migrate to another card,
//! and one of them on to the same device in software.
//!
//! Each guest has a program that checks every page that the card has copied for it
//! (`bin/mig-guest/edu.rs`). A page that goes to the wrong guest, or is lost on the way, is wrong.

mod identity;
mod user;

use std::fs;
use std::path::Path;

use anyhow::{bail, Result};
use mig_common::modules::{OWN, PROGRAM};
use serde::Serialize;

use super::bed::{ensure_quiet, load, Bed, Card, Host};
use super::listener::Listener;
use super::own_device::{regex, AUTHORS};
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::{parents_with, MdevType};
use crate::qemu::image::Image;
use crate::qemu::migration;
use crate::qemu::vm::Role;

pub use user::run as used;

/// The driver of the cards, and its type.
const MODULE: &str = "edu_parent";
const TYPE: &str = "edu_parent-1";
/// The same device without a card.
const SOFTWARE: &str = "edu";
const SOFTWARE_TYPE: &str = "edu/edu-1";
/// What the program says as long as all is well, and what it says otherwise.
const OK: &str = "[1-9][0-9]* rounds, 0 wrong";
const FAIL: &str = " has 0x|[1-9][0-9]* wrong|is wrong|does not end";

/// The figures of one migration.
#[derive(Serialize)]
struct Move {
    guest: usize,
    to: String,
    total_ms: u64,
    downtime_ms: u64,
}

/// A guest, and who listens to it.
struct Guest {
    host: Host,
    listener: Listener,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    for module in ["vfio_iommu_type1", MODULE, SOFTWARE] {
        load(module)?;
    }
    let cards = parents_with(TYPE)?;
    let [first, second] = cards.as_slice() else {
        bail!("the lab VM has two cards, but these are parents: {cards:?}");
    };
    let program = ctx.job.join("mig-guest");
    let files = vec![
        (OWN.into(), Vec::new()),
        (PROGRAM.into(), fs::read(&program)?),
    ];
    let bed = Bed {
        qemu: ctx.qemu,
        dir: ctx.dir.clone(),
        image: Image::prepare(Path::new(ctx.guest_kernel), &program, &ctx.dir, &[], files)?,
    };
    let mut guests = Vec::new();
    for number in 0..2 {
        ctx.step(format!("booting guest {number} with a device of {first}"));
        let name = format!("source-{number}");
        let mut host = bed.start_with(&name, vec![card(first)?], Role::Source)?;
        host.vm.await_ready()?;
        let transcript = format!("guest-{number}-output");
        let (ok, fail) = (regex(OK)?, regex(FAIL)?);
        let listener = Listener::new(ctx, &transcript, Some(ok), Some(fail))?;
        guests.push(Guest { host, listener });
    }
    for guest in &mut guests {
        ctx.step("waiting for a report of each guest");
        guest
            .listener
            .await_words(&mut guest.host.vm, &regex(OK)?)?;
    }
    let mut figures = Vec::new();
    for (number, guest) in guests.iter_mut().enumerate() {
        figures.push(guest.moves(ctx, &bed, number, card(second)?, second)?);
    }
    let software = Card {
        driver: AUTHORS,
        mdev: MdevType::named(SOFTWARE_TYPE)?.create()?,
    };
    figures.push(guests[0].moves(ctx, &bed, 0, software, SOFTWARE)?);
    for guest in &mut guests {
        ctx.step("waiting for two more reports of each guest");
        guest.listener.has_moved = true;
        guest.listener.await_pass(&mut guest.host.vm, &regex(OK)?)?;
        ensure_quiet(&guest.host)?;
    }
    ctx.report(figures)?;
    Ok(Outcome::Passed)
}

fn card(parent: &str) -> Result<Card> {
    Ok(Card {
        driver: AUTHORS,
        mdev: MdevType::find(parent, TYPE)?.create()?,
    })
}

impl Guest {
    /// Migrates the guest to a device, and requires that it runs there.
    fn moves(
        &mut self,
        ctx: &mut Ctx,
        bed: &Bed,
        number: usize,
        to: Card,
        name: &str,
    ) -> Result<Move> {
        ctx.step(format!("guest {number} moves to {name}"));
        let vm = format!("guest-{number}-at-{}", name.replace([':', '.'], "-"));
        let mut there = bed.start_with(&vm, vec![to], Role::Destination)?;
        let here = &mut self.host;
        let socket = bed.socket("migration");
        migration::listen(&mut there.vm, &socket)?;
        migration::start(&mut here.vm, &socket, migration::Stop::Never)?;
        let moved = migration::arrive(&mut here.vm, &mut there.vm)?;
        self.listener.follow(here, &mut there)?;
        self.listener.await_answer(&mut there.vm)?;
        self.host = there;
        Ok(Move {
            guest: number,
            to: name.into(),
            total_ms: moved.total_ms,
            downtime_ms: moved.downtime_ms,
        })
    }
}
