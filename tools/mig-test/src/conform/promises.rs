// SPDX-License-Identifier: GPL-2.0
//! What a device promises in PRE_COPY: how much is left, and that it comes to an end.

use anyhow::{Context, Result};
use mig_common::exercise::place::Place;
use mig_common::exercise::Fill;
use rustix::io::Errno;

use super::play::Player;
use super::rig::{Area, Rig};
use super::suite::Suite;
use crate::vfio::migration::State;

/// Bytes of a read.
const PIECE: usize = 4096;
/// Bytes that a pre-copy of a device without memory may have before its first end.
const LEAST: u64 = 4 << 20;

/// The rules of this file.
const RULES: [&str; 3] = [
    "precopy.begins-clean",
    "precopy.initial-falls",
    "precopy.ends",
];

/// Saves in PRE_COPY while a guest writes memory and registers.
pub fn pre_copy(suite: &mut Suite<'_>) -> Result<()> {
    if !suite.has(State::PreCopy) {
        for rule in RULES {
            suite.skipped(rule, "the device has no PRE_COPY");
        }
        return Ok(());
    }
    let rig = suite.open()?;
    for (work, interrupt) in suite.works() {
        let name = &work.name;
        suite.told(&format!("{name}, and PRE_COPY while memory is written"));
        rig.reset()?;
        let mut player = Player::begin(suite.exercise, &work, &rig, interrupt)?;
        if player.play(&rig, usize::MAX)?.is_none() {
            one(suite, &rig, name)?;
        }
        rig.listen(None)?;
        if suite.is_enough() {
            return Ok(());
        }
    }
    for rule in RULES {
        suite.passed(rule);
    }
    Ok(())
}

fn one(suite: &mut Suite<'_>, rig: &Rig, name: &str) -> Result<()> {
    suite.begin();
    for rule in RULES {
        suite.exercised(rule);
    }
    let file = rig
        .set_state(State::PreCopy)?
        .context("PRE_COPY without a data file")?;
    let begin = file.precopy_info(None, 0)?;
    if begin.dirty > 0 {
        let shows = format!(
            "{name}: before the first read, dirty_bytes is {}",
            begin.dirty
        );
        suite.fail("precopy.begins-clean", shows);
    }
    let memory: u64 = rig.areas.iter().map(Area::size).sum();
    let most = LEAST + 4 * memory;
    let (mut read, mut initial, mut piece) = (0, begin.initial, vec![0; PIECE]);
    for round in 0.. {
        write(suite, rig, round)?;
        let now = file.precopy_info(None, 0)?.initial;
        if now > initial {
            let shows = format!("{name}: after {read} bytes it grows from {initial} to {now}");
            suite.fail("precopy.initial-falls", shows);
        }
        initial = now;
        match file.read(&mut piece) {
            Ok(0) => break,
            // The end of a pass: the next read may begin another one.
            Ok(count) if count < PIECE && file.precopy_info(None, 0)?.initial == 0 => break,
            Ok(count) => read += count as u64,
            Err(Errno::NOMSG) => break,
            Err(error) => {
                let shows = format!("{name}: a read in PRE_COPY fails with {error:?}");
                suite.fail("move.completes", shows);
                break;
            }
        }
        if read > most {
            let shows = format!("{name}: {read} bytes were read, and there is no end for now");
            suite.fail("precopy.ends", shows);
            break;
        }
    }
    let left = file.precopy_info(None, 0)?.initial;
    if left > 0 && !suite.report.has_failed("precopy.ends") {
        let shows = format!("{name}: at the end for now it is {left}");
        suite.fail("precopy.initial-falls", shows);
    }
    rig.set_state(State::Running)?;
    Ok(())
}

/// Writes a page that was sent already, in each memory, and a register.
fn write(suite: &Suite<'_>, rig: &Rig, round: u64) -> Result<()> {
    for area in &rig.areas {
        let pages = (area.size() / PIECE as u64).clamp(1, 8);
        let place = Place::Bar(area.bar, area.start + round % pages * PIECE as u64);
        rig.write_bytes(place, &Fill::Count.bytes(64))?;
    }
    let keeping = suite.keeping();
    if let Some((register, value)) = keeping.get(round as usize % keeping.len().max(1)) {
        rig.write(register, *value)?;
    }
    Ok(())
}
