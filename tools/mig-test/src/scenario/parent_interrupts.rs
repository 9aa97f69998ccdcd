// SPDX-License-Identifier: GPL-2.0
//! Several interrupt vectors of a parent: each message calls the driver with its own vector, also
//! after the parent was unbound and bound again.

use std::fs;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};

use super::bed::{load, unload};
use super::conformance::checks::Checks;
use super::{until, Ctx};
use crate::event::Outcome;
use crate::mdev::{parents_with, Mdev, MdevType};
use crate::vfio::device::Device;

/// The driver: tools/mig-test/kmod/irq_rs.rs. Its registers are those of BAR 0.
const MODULE: &str = "irq_rs";
const TYPE: &str = "irq_rs-1";
const SEND: u64 = 0x00;
const COUNT: u64 = 0x10;
const VECTORS: usize = 3;
/// The time for a message: some thousand times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open card. Removed when dropped, device first.
struct Card {
    device: Device,
    _mdev: Mdev,
}

impl Card {
    fn new(parent: &str) -> Result<Card> {
        let mdev = MdevType::find(parent, TYPE)?.create()?;
        Ok(Card {
            device: Device::open(mdev.path())?,
            _mdev: mdev,
        })
    }

    fn counts(&self) -> Result<[u32; VECTORS]> {
        let mut counts = [0; VECTORS];
        for (vector, count) in counts.iter_mut().enumerate() {
            *count = self.device.read_u32(COUNT + 4 * vector as u64)?;
        }
        Ok(counts)
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let parents = parents_with(TYPE)?;
    let [parent] = parents.as_slice() else {
        bail!("the lab VM has one e1000e, but these are parents: {parents:?}");
    };
    let mut checks = Checks::default();
    ctx.step("messages of each vector");
    messages(&mut checks, parent)?;
    ctx.step("the parent unbound and bound again");
    let driver = format!("/sys/bus/pci/drivers/{MODULE}");
    fs::write(format!("{driver}/unbind"), parent).context("unbind the parent")?;
    fs::write(format!("{driver}/bind"), parent).context("bind the parent again")?;
    messages(&mut checks, parent)?;
    unload(MODULE)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Sends messages of one vector after the other: those that had none yet must stay without a call.
/// The parent may send one more than it was asked for, as hardware does.
fn messages(checks: &mut Checks, parent: &str) -> Result<()> {
    let card = Card::new(parent)?;
    checks.equal("before any message", card.counts()?, [0; VECTORS]);
    for vector in 0..VECTORS {
        for round in 1..=5 {
            let before = card.counts()?[vector];
            card.device.write(SEND, &[1 << vector])?;
            let arrived = until(PATIENCE, || Ok(card.counts()?[vector] > before))?;
            ensure!(arrived, "message {round} of vector {vector} has not come");
            let later = &card.counts()?[vector + 1..];
            let what = format!("calls of later vectors after message {round} of {vector}");
            checks.equal(what, later, &[0; VECTORS][vector + 1..]);
        }
    }
    let before = card.counts()?;
    card.device.write(SEND, &[(1 << VECTORS) - 1])?;
    let all = || -> Result<bool> {
        let mut pairs = card.counts()?.into_iter().zip(before);
        Ok(pairs.all(|(count, before)| count > before))
    };
    checks.that("messages of all vectors at once", until(PATIENCE, all)?);
    Ok(())
}
