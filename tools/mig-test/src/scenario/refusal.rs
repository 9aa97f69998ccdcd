// SPDX-License-Identifier: GPL-2.0
//! Destinations that must refuse: of another type, or with a torn or changed stream. The source's
//! guest continues and loses nothing, and can still migrate to a compatible destination.

use anyhow::{ensure, Context, Result};
use mdev_model::stream::{Header, LoadError, Tag, HEADER_LEN, MAGIC};
use mgpu_model::pages::PAYLOAD_MAX;
use mgpu_model::state::State;

use super::bed::{
    ensure_quiet, migrate_checked, Bed, Checkpoint, Host, Kind, BOTH, MGPU_64, MGPU_RS, MTTY_RS,
    ONE_PORT, TWO_PORTS,
};
use super::Ctx;
use crate::event::Outcome;
use crate::kernel_log::KernelLog;
use crate::qemu::migration::{self, Stop};
use crate::qemu::proxy::{Change, Proxy};
use crate::qemu::vm::Role;

/// Length of the payload of the configuration record.
const CONFIG_LEN: usize = 256;
/// The serial card's vendor and device id, at the beginning of that payload.
const PCI_ID: [u8; 4] = [0x48, 0x43, 0x53, 0x32];
/// The offset of the upper half of the size in a record header.
const SIZE_HIGH: u64 = 4;
/// The offset of the tag in a record header.
const TAG: u64 = 12;
/// An offset in the configuration where any value is valid.
const INSIDE: u64 = HEADER_LEN as u64 + 0x3c;
/// The offsets of version and readable_by in the match data, from the magic.
const VERSION: u64 = 10;
/// The bytes of VRAM, at the beginning of the GPU's state.
const VRAM: u32 = 16 << 20;
/// An offset in a record of VRAM, inside a page.
const IN_VRAM: u64 = HEADER_LEN as u64 + 5000;
/// The offset of FENCE of ring 0 in the GPU's state, behind the function's part. Any value is valid
/// there.
const FENCE: u64 = HEADER_LEN as u64 + 17 + 47;

/// One kind of error.
struct Case {
    what: &'static str,
    pattern: Vec<u8>,
    change: Change,
    /// The reason that the device reports. QEMU detects a stream that ends early, so the device may
    /// not see it.
    refusal: Option<LoadError>,
}

fn case(what: &'static str, pattern: &[u8], change: Change, refusal: Option<LoadError>) -> Case {
    Case {
        what,
        pattern: pattern.to_vec(),
        change,
        refusal,
    }
}

/// A record's header and the beginning of its payload.
fn record(tag: Tag, size: usize, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        size: size as u64,
        optional: false,
        tag,
    };
    [&header.encode()[..], payload].concat()
}

/// Returns the errors in a serial card's stream.
fn serial_cases() -> Vec<Case> {
    // It comes once the guest stands still.
    let config = record(Tag::CONFIG, CONFIG_LEN, &PCI_ID);
    vec![
        case(
            "another version",
            &MAGIC,
            Change::Replace(VERSION, vec![0x77; 4]),
            Some(LoadError::OtherVersion),
        ),
        case(
            "a torn stream, in the match data",
            &MAGIC,
            Change::Cut(20),
            None,
        ),
        case(
            "a torn stream, in the configuration",
            &config,
            Change::Cut(INSIDE),
            None,
        ),
        case(
            "a bent byte there",
            &config,
            Change::Invert(INSIDE),
            Some(LoadError::WrongChecksum),
        ),
        case(
            "an unknown record",
            &config,
            Change::Replace(TAG, vec![0xad, 0xde]),
            Some(LoadError::UnknownRecord),
        ),
        case(
            "a record too long",
            &config,
            Change::Replace(SIZE_HIGH, vec![0x7f]),
            Some(LoadError::RecordTooLong),
        ),
    ]
}

/// Returns the errors in a GPU's stream.
fn gpu_cases() -> Vec<Case> {
    // Most of them come while the guest runs.
    let vram = record(Tag(Tag::FIRST_DRIVER.0 + 1), PAYLOAD_MAX, &[]);
    // It comes once the guest stands still.
    let state = record(Tag::FIRST_DRIVER, State::LEN, &VRAM.to_le_bytes());
    let bent = Some(LoadError::WrongChecksum);
    vec![
        case(
            "a torn stream, in the GPU's memory",
            &vram,
            Change::Cut(IN_VRAM),
            None,
        ),
        case("a bent byte there", &vram, Change::Invert(IN_VRAM), bent),
        case(
            "a torn stream, in the GPU's state",
            &state,
            Change::Cut(FENCE),
            None,
        ),
        case("a bent byte there", &state, Change::Invert(FENCE), bent),
    ]
}

/// A guest with a serial card.
pub fn serial(ctx: &mut Ctx) -> Result<Outcome> {
    let kinds = [(MTTY_RS, ONE_PORT)];
    let others = [(MTTY_RS, TWO_PORTS)];
    run(ctx, &kinds, &others, serial_cases())
}

/// A guest that also has a busy GPU.
pub fn gpu(ctx: &mut Ctx) -> Result<Outcome> {
    let others = [(MTTY_RS, ONE_PORT), (MGPU_RS, MGPU_64)];
    run(ctx, &BOTH, &others, gpu_cases())
}

fn run(ctx: &mut Ctx, kinds: &[Kind], others: &[Kind], cases: Vec<Case>) -> Result<Outcome> {
    let bed = Bed::prepare(ctx)?;
    let (mut source, before) = bed.running_source(ctx, kinds)?;

    ctx.step("a destination of another type");
    let log = KernelLog::from_now()?;
    let mut destination = bed.start_of("other", others, Role::Destination)?;
    let socket = bed.socket("other-migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::start(&mut source.vm, &socket, Stop::Never)?;
    refused(&mut source, destination, log, Some(LoadError::OtherType))?;
    Checkpoint::check(&mut source, &before).context("the source after the refusal")?;

    for case in cases {
        let what = case.what;
        ctx.step(what);
        let log = KernelLog::from_now()?;
        let mut destination = bed.start_of("refusing", kinds, Role::Destination)?;
        let (here, there) = (bed.socket("proxy"), bed.socket("behind-proxy"));
        migration::listen(&mut destination.vm, &there)?;
        let proxy = Proxy::start(&here, &there, case.pattern, case.change)?;
        migration::start(&mut source.vm, &here, Stop::Never)?;
        refused(&mut source, destination, log, case.refusal).context(what)?;
        ensure!(
            proxy.finish()?,
            "{what}: the place to change was not in the stream"
        );
        Checkpoint::check(&mut source, &before).context("the source after the refusal")?;
    }

    ctx.step("a destination that fits");
    let mut destination = bed.start_of("destination", kinds, Role::Destination)?;
    migrate_checked(&bed, &mut source, &mut destination)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}

/// Requires that the migration fails, that the destination exits as QEMU does after an error, and
/// that its device has refused the stream for the right reason if it must.
fn refused(
    source: &mut Host,
    mut destination: Host,
    mut log: KernelLog,
    refusal: Option<LoadError>,
) -> Result<()> {
    let ends = ["completed", "failed"];
    let status = migration::await_any_status(&mut source.vm, &ends)?;
    ensure!(status == "failed", "the destination took it");
    let status = destination.vm.await_exit()?;
    ensure!(
        status.code() == Some(1),
        "the destination ended with {status}, and printed: {}",
        destination.vm.stderr().trim()
    );
    if let Some(refusal) = refusal {
        let (found, wanted) = (log.refusals()?, refusal.reason());
        // Both sides follow if it is about them, and nothing else.
        let is_right = |found: &String| match refusal.is_mismatch() {
            true => found.starts_with(&format!("{wanted}: source ")),
            false => found == wanted,
        };
        ensure!(
            found.len() == 1 && found.iter().all(is_right),
            "the kernel log has the refusals {found:?} instead of {wanted:?}"
        );
    }
    Ok(())
}
