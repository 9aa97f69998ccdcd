// SPDX-License-Identifier: GPL-2.0
//! The pages that a migration sends again for each page that a device has written: if the driver
//! copies without pins, if it pins a page while it writes to it, and if it pins all of guest memory
//! permanently.
//!
//! The writes and the card are the same; only the calls of the SDK differ. The dirty pages are
//! those of the container, and also those of the device's log if the kernel has one.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use crate::event::Outcome;
use crate::scenario::memory::card::{iova, Card, Kind, IOVA};
use crate::scenario::Ctx;
use crate::vfio::account::Account;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;

/// Pages of guest memory.
const GUEST: usize = 8192;
/// Pages written between two syncs, each with a page of its own.
const WRITES: usize = 200;
/// Syncs.
const SYNCS: usize = 8;
/// Bytes written to a page.
const BYTES: usize = 64;

/// How long the driver keeps a page pinned.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Pins {
    /// Not at all: `GuestMemory::write`.
    Nothing,
    /// While it writes to it.
    Touched,
    /// All pages, always.
    Everything,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    pinned: Pins,
    account: Account,
    pages_written: usize,
    pages_reported: usize,
    pages_lost: usize,
    reported_for_each_written: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let card = Card::new(Device::open, GUEST)?;
    let mut accounts = vec![Account::Container];
    if card.device.has_log() {
        accounts.push(Account::Log);
    }
    let mut rows = Vec::new();
    for pins in [Pins::Nothing, Pins::Touched, Pins::Everything] {
        for account in &accounts {
            rows.push(measure(&card, pins, *account)?);
        }
    }
    let outcome = judge(&rows);
    ctx.report(rows)?;
    Ok(outcome)
}

/// Nothing is lost, and only who counts pins reports what was not written.
fn judge(rows: &[Row]) -> Outcome {
    let inexact = |row: &Row| (row.pinned, row.account) == (Pins::Everything, Account::Container);
    let right = |row: &Row| {
        row.pages_lost == 0 && (inexact(row) || row.pages_reported == row.pages_written)
    };
    match rows.iter().all(right) {
        true => Outcome::Passed,
        false => Outcome::Failed {
            reason: "pages were lost, or reported that nobody has written".into(),
        },
    }
}

/// Writes and syncs repeatedly.
fn measure(card: &Card, pinned: Pins, account: Account) -> Result<Row> {
    let channel = card.channel(0);
    if pinned == Pins::Everything {
        channel.pin(Kind::Write, IOVA, GUEST * PAGE)?;
    }
    account.start(&card.device, IOVA, GUEST * PAGE)?;
    let mut row = Row {
        pinned,
        account,
        pages_written: 0,
        pages_reported: 0,
        pages_lost: 0,
        reported_for_each_written: 0.0,
    };
    for sync in 0..SYNCS {
        let written = pages(sync);
        for page in &written {
            match pinned {
                Pins::Nothing => channel.write(iova(page * PAGE), &[1; BYTES])?,
                Pins::Touched => {
                    channel.pin(Kind::Write, iova(page * PAGE), PAGE)?;
                    channel.kept_write(0, &[1; BYTES])?;
                    channel.unpin()?;
                }
                Pins::Everything => channel.kept_write(page * PAGE, &[1; BYTES])?,
            }
        }
        let reported = account.take(&card.device, IOVA, GUEST * PAGE)?;
        row.pages_written += written.len();
        row.pages_reported += reported.len();
        row.pages_lost += written.difference(&reported).count();
    }
    account.stop(&card.device)?;
    channel.unpin()?;
    row.reported_for_each_written = row.pages_reported as f64 / row.pages_written as f64;
    Ok(row)
}

/// Returns the pages to write before a sync: different ones each time, and spread.
fn pages(sync: usize) -> BTreeSet<usize> {
    let stride = GUEST / WRITES;
    (0..WRITES)
        .map(|write| write * stride + (write * 7 + sync * 3) % stride)
        .collect()
}
