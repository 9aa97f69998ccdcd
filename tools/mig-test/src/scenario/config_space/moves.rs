// SPDX-License-Identifier: GPL-2.0
//! What a stream has of configuration space, and which device loads it.

use std::fs;

use anyhow::{Context, Result};
use mdev_model::stream::{LoadError, Tag, HEADER_LEN};
use rustix::io::Errno;

use super::card::{
    register, Card, COMMAND, DEVICE_CONTROL, MAILBOX, MASTER, MODULE, POWER_CONTROL,
};
use crate::compat::of_type;
use crate::kernel_log::KernelLog;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::migration::State;

/// The types, whose streams differ in configuration space only.
const TYPES: [&str; 4] = ["express", "other", "free", "conventional"];

/// Moves a device, and tries to move each to each.
pub fn run(checks: &mut Checks) -> Result<()> {
    whole(checks)?;
    let mut streams = Vec::new();
    for kind in TYPES {
        streams.push((kind, save(&Card::new(kind)?)?));
    }
    let says = |kind: &str| fs::read_to_string(of_type(MODULE, &format!("{MODULE}-{kind}")));
    for to in TYPES {
        let card = Card::new(to)?;
        let new = card.space()?;
        for (from, stream) in &streams {
            let what = format!("{from} into {to}");
            let mut log = KernelLog::from_now()?;
            let loaded = load(&card, stream);
            checks.equal(
                format!("{what}: match data is equal"),
                says(from)? == says(to)?,
                *from == to,
            );
            let (errno, reason) = match (*from, to) {
                (from, to) if from == to => (None, None),
                // A record that is longer than the space, or shorter.
                (_, "conventional") => {
                    (Some(Errno::NOMEM), Some(LoadError::RecordTooLong.reason()))
                }
                ("conventional", _) => (
                    Some(Errno::INVAL),
                    Some("configuration space has another length"),
                ),
                _ => (Some(Errno::INVAL), Some(LoadError::OtherConfig.reason())),
            };
            checks.equal(&what, loaded, errno.map_or(Ok(()), Err));
            let said = log.refusals()?;
            let names = |reason: &str| said.iter().any(|line| line.contains(reason));
            checks.that(
                format!("{what}: the log says {said:?}"),
                reason.map_or(said.is_empty(), names),
            );
            card.device.reset()?;
            checks.that(format!("{what}: it has changed"), card.space()? == new);
        }
    }
    Ok(())
}

/// All that a guest has written arrives, and the driver of the destination can read it.
fn whole(checks: &mut Checks) -> Result<()> {
    let (source, destination) = (Card::new("express")?, Card::new("express")?);
    source.command(MASTER | 0x0140)?;
    source.write(MAILBOX, &[1, 2, 3, 4])?;
    source.write(DEVICE_CONTROL, &[0x0f, 0x50])?;
    source.write(0x44, &[0xfc; 10])?;
    let space = source.space()?;
    let stream = save(&source)?;
    let header = [
        &4096u64.to_le_bytes()[..],
        &[0; 4],
        &Tag::CONFIG.0.to_le_bytes(),
    ]
    .concat();
    let mut headers = stream.windows(HEADER_LEN);
    let at = headers.position(|bytes| bytes == header);
    let record = at.and_then(|at| stream.get(at + HEADER_LEN..at + HEADER_LEN + 4096));
    checks.that("CONFIG is not configuration space", record == Some(&*space));
    // What is there before does not stay.
    destination.command(0x0002)?;
    destination.write(POWER_CONTROL, &[3])?;
    destination.write(MAILBOX, &[9; 4])?;
    let calls = destination.get(register::CALLS)?;
    checks.equal("load", load(&destination, &stream), Ok(()));
    checks.that("another space has arrived", destination.space()? == space);
    let found = destination.get(register::MAILBOX)?;
    checks.equal("what the driver finds at the end", found, 0x0403_0201);
    checks.equal("is bus master", destination.get(register::MASTER)?, 1);
    checks.equal(
        "calls by the load",
        destination.get(register::CALLS)?,
        calls,
    );
    destination.device.set_state(State::Running)?;
    checks.equal("access", destination.call(register::WRITE), Ok(()));

    // Bus Master Enable of the stream counts, not the one before.
    let clear = Card::new("express")?;
    let stream = save(&clear)?;
    checks.equal("load", load(&destination, &stream), Ok(()));
    destination.device.set_state(State::Running)?;
    let access = destination.call(register::WRITE);
    checks.refused("access without the bit", access, Errno::IO);
    let command = destination.config(COMMAND)? & 0xffff;
    checks.equal("the command register", command, 0);
    Ok(())
}

/// Returns the stream of a card, which stays in STOP_COPY.
fn save(card: &Card) -> Result<Vec<u8>> {
    card.device.set_state(State::Stop)?;
    let file = card.device.set_state(State::StopCopy)?;
    let (stream, _) = file.context("no data file")?.read_to_end(1 << 16)?;
    Ok(stream)
}

/// Loads a stream, and ends in STOP.
fn load(card: &Card, stream: &[u8]) -> Result<(), Errno> {
    card.device.set_state(State::Stop)?;
    let file = card.device.set_state(State::Resuming)?;
    file.ok_or(Errno::BADF)?.write_split(stream, &[1000])?;
    card.device.set_state(State::Stop).map(drop)
}
