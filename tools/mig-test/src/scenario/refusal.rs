// SPDX-License-Identifier: GPL-2.0
//! Destinations that must refuse: of another type, or given a torn or bent stream. The source's guest
//! runs on and loses nothing, and can still leave for a destination that fits.

use anyhow::{ensure, Context, Result};
use mdev_model::stream::{Header, Tag, HEADER_LEN, MAGIC};

use super::bed::{
    ensure_quiet, load, migrate_checked, Bed, Checkpoint, Host, LINES, MTTY_RS, ONE_PORT, TWO_PORTS,
};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration::{self, Stop};
use crate::qemu::proxy::{Change, Proxy};
use crate::qemu::vm::Role;

/// Length of the payload of the configuration record.
const CONFIG_LEN: usize = 256;
/// The card's vendor and device, with which that payload begins.
const PCI_ID: [u8; 4] = [0x48, 0x43, 0x53, 0x32];
/// Where a record header has the upper half of its size.
const SIZE_HIGH: u64 = 4;
/// Where a record header has its tag.
const TAG: u64 = 12;
/// A place in the payload.
const INSIDE: u64 = HEADER_LEN as u64 + 0x3c;
/// Where the match data has its version and its oldest reader, counted from the magic.
const VERSION: u64 = 10;

/// One way to go wrong.
struct Case {
    what: &'static str,
    pattern: Vec<u8>,
    change: Change,
}

fn cases() -> Vec<Case> {
    let config = Header {
        size: CONFIG_LEN as u64,
        optional: false,
        tag: Tag::CONFIG,
    };
    // It comes once the guest stands still.
    let config = [&config.encode()[..], &PCI_ID].concat();
    let case = |what, pattern: &[u8], change| Case {
        what,
        pattern: pattern.to_vec(),
        change,
    };
    vec![
        case(
            "another version",
            &MAGIC,
            Change::Replace(VERSION, vec![0x77; 4]),
        ),
        case(
            "a torn stream, before the guest stops",
            &MAGIC,
            Change::Cut(20),
        ),
        case(
            "a torn stream, in the device's state",
            &config,
            Change::Cut(INSIDE),
        ),
        case("a bent byte", &config, Change::Invert(INSIDE)),
        case(
            "an unknown record",
            &config,
            Change::Replace(TAG, vec![0xad, 0xde]),
        ),
        case(
            "a record too long",
            &config,
            Change::Replace(SIZE_HIGH, vec![0x7f]),
        ),
    ]
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    let bed = Bed::prepare(ctx)?;
    ctx.step("booting the guest");
    let mut source = bed.start("source", &MTTY_RS, ONE_PORT, Role::Source)?;
    source.vm.await_ready()?;
    source.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut source.vm)?;

    ctx.step("a destination of another type");
    let mut other = bed.start("other", &MTTY_RS, TWO_PORTS, Role::Destination)?;
    let socket = bed.socket("other-migration");
    migration::listen(&mut other.vm, &socket)?;
    migration::start(&mut source.vm, &socket, Stop::Never)?;
    refused(&mut source, other, &before)?;

    for case in cases() {
        ctx.step(case.what);
        let mut destination = bed.start("refusing", &MTTY_RS, ONE_PORT, Role::Destination)?;
        let (here, there) = (bed.socket("proxy"), bed.socket("behind-proxy"));
        migration::listen(&mut destination.vm, &there)?;
        let proxy = Proxy::start(&here, &there, case.pattern, case.change)?;
        migration::start(&mut source.vm, &here, Stop::Never)?;
        refused(&mut source, destination, &before).with_context(|| case.what)?;
        ensure!(
            proxy.finish()?,
            "{}: the place to change was not in the stream",
            case.what
        );
    }

    ctx.step("a destination that fits");
    let mut destination = bed.start("destination", &MTTY_RS, ONE_PORT, Role::Destination)?;
    migrate_checked(&bed, &mut source, &mut destination)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}

/// Demands that the migration fails, the destination ends in failure, and the source's guest is whole.
fn refused(source: &mut Host, mut destination: Host, before: &Checkpoint) -> Result<()> {
    let ends = ["completed", "failed"];
    let status = migration::await_any_status(&mut source.vm, &ends)?;
    ensure!(status == "failed", "the destination took it");
    let (success, printed) = destination.vm.await_exit()?;
    ensure!(
        !success,
        "the destination ended as if nothing were wrong: {printed}"
    );
    Checkpoint::check(&mut source.vm, before).context("the source after the refusal")
}
