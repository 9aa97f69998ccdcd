// SPDX-License-Identifier: GPL-2.0
//! Writes the device's memory from a second thread while PRE_COPY reads it, and compares what
//! arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mig_common::random::Random;
use rustix::io::Errno;

use super::rig::{Area, Rig};
use super::snapshot::{Part, Snapshot};
use super::suite::Suite;
use super::transfer::LARGE;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::{DataFile, State};

const RULE: &str = "precopy.races";
/// Sessions that are raced.
const ROUNDS: usize = 8;
/// Pages of each memory that are written, once each: a later write would bring what was lost.
const PAGES: usize = 16;
/// The time between two writes. It spreads them over the first pass, in which all pages are saved.
const PACE: Duration = Duration::from_millis(1);

/// Races a guest with the saving of the device's memory.
pub fn raced(suite: &mut Suite<'_>) -> Result<()> {
    let reason = match () {
        () if !suite.has(State::PreCopy) => Some("the device has no PRE_COPY"),
        () if !suite.has_memory() => Some("no BAR of the device is memory"),
        () => None,
    };
    if let Some(reason) = reason {
        suite.skipped(RULE, reason);
        return Ok(());
    }
    let (source, other) = suite.open_two()?;
    let destination = other.as_ref().unwrap_or(&source);
    suite.told("memory is written while PRE_COPY reads it");
    let mut random = Random::new(suite.seed);
    for _ in 0..ROUNDS {
        suite.begin();
        suite.exercised(RULE);
        source.reset()?;
        let stream = save_raced(&source, &mut random)?;
        let parts = [Part::DeviceMemory];
        let sent = Snapshot::take_parts(&source, &suite.readable, &parts)?;
        destination.reset()?;
        destination.set_state(State::Stop)?;
        let file = destination.set_state(State::Resuming)?;
        let file = file.context("RESUMING without a data file")?;
        file.write_split(&stream, &[LARGE])?;
        destination.set_state(State::Stop)?;
        let arrived = Snapshot::take_parts(destination, &suite.readable, &parts)?;
        if let Some(what) = sent.differs_in(&arrived, &parts) {
            suite.fail(RULE, format!("after the move {what}"));
        }
        destination.reset()?;
        if suite.is_enough() {
            return Ok(());
        }
    }
    suite.passed(RULE);
    Ok(())
}

/// Saves a device whose memory is written meanwhile.
fn save_raced(rig: &Rig, random: &mut Random) -> Result<Vec<u8>> {
    let mut pages: Vec<(&Area, usize)> = rig.areas.iter().flat_map(pages).collect();
    for (area, at) in &pages {
        area.memory.write(*at, &1u64.to_le_bytes());
    }
    for last in (1..pages.len()).rev() {
        pages.swap(last, random.below(last + 1));
    }
    let file = rig.set_state(State::PreCopy)?;
    let file = file.context("PRE_COPY without a data file")?;
    let is_over = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        scope.spawn(|| {
            for (area, at) in &pages {
                thread::sleep(PACE);
                area.memory.write(*at, &2u64.to_le_bytes());
            }
            is_over.store(true, Ordering::Relaxed);
        });
        passes(&file, &is_over)
    });
    let mut stream = read.context("a read in PRE_COPY")?;
    rig.set_state(State::StopCopy)?;
    stream.extend(file.read_to_end(LARGE)?.0);
    Ok(stream)
}

/// Returns the pages of an area that are written.
fn pages(area: &Area) -> impl Iterator<Item = (&Area, usize)> {
    let count = (area.memory.len() / PAGE).min(PAGES);
    (0..count).map(move |page| (area, page * PAGE))
}

/// Reads pass after pass until memory is written no more.
fn passes(file: &DataFile, is_over: &AtomicBool) -> Result<Vec<u8>, Errno> {
    let (mut stream, mut piece) = (Vec::new(), vec![0; LARGE]);
    // A pre-copy that does not end is found by another check.
    while stream.len() < 64 * LARGE {
        match file.read(&mut piece) {
            Ok(0) | Err(Errno::NOMSG) if is_over.load(Ordering::Relaxed) => break,
            Ok(0) | Err(Errno::NOMSG) => thread::yield_now(),
            Ok(count) => stream.extend_from_slice(&piece[..count]),
            Err(error) => return Err(error),
        }
    }
    Ok(stream)
}
