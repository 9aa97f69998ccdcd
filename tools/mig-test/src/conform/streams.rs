// SPDX-License-Identifier: GPL-2.0
//! Streams whose records were left out, repeated, reordered, spliced, resized or bent, with a right
//! length and a right checksum, so that they reach the driver's own checks. The device must refuse
//! them and change nothing, or hold a state that the stream alone determines.

use std::collections::BTreeSet;

use anyhow::Result;
use mig_common::exercise::place::Register;
use mig_common::exercise::step::Step;
use mig_common::exercise::Work;

use super::moves;
use super::play::Player;
use super::records::{changes, name, parse, unlike, Bent, End, Record};
use super::resets::Fresh;
use super::rig::Rig;
use super::snapshot::{first_difference, Part, Snapshot};
use super::suite::Suite;
use super::transfer::save;
use crate::vfio::migration::State;

/// Streams that are bent, at most.
const STREAMS: usize = 6;
/// One in this number of states that were taken is followed by a work.
const WORKS: usize = 16;
const LARGE: usize = 1 << 20;

/// The rules of this file.
const RULES: [&str; 9] = [
    "stream.left-out",
    "stream.repeated",
    "stream.reordered",
    "stream.spliced",
    "stream.resized",
    "stream.bent",
    "stream.legal",
    "stream.ended",
    "stream.works",
];

/// Bends streams of the device.
pub fn bent(suite: &mut Suite<'_>) -> Result<()> {
    let rig = suite.open()?;
    let mut works = suite.works();
    // Works that wait first: a device holds the most while it is at work. What it holds then
    // depends on how far it has come, so each work is also taken at its end.
    works.sort_by_key(|(work, _)| !work.steps.iter().any(Step::waits));
    let mut sessions = Vec::new();
    for (work, interrupt) in works {
        let first = work.steps.iter().position(Step::waits);
        for end in first.into_iter().chain([work.steps.len()]) {
            rig.reset()?;
            let mut player = Player::begin(suite.exercise, &work, &rig, interrupt)?;
            if player.play(&rig, end)?.is_none() {
                let stream = save(&rig)?;
                suite.seen(stream.clone());
                sessions.push(stream);
            }
            rig.listen(None)?;
        }
    }
    let mut seen = BTreeSet::new();
    sessions.retain(|session| seen.insert(session.clone()));
    let parsed: Option<Vec<Vec<Record>>> = sessions.iter().map(|stream| parse(stream)).collect();
    let reason = match sessions.is_empty() {
        true => "no work comes to its end without a move",
        false => "the stream does not consist of the SDK's records",
    };
    let Some(sessions) = parsed.filter(|sessions| !sessions.is_empty()) else {
        for rule in RULES {
            suite.skipped(rule, reason);
        }
        return Ok(());
    };
    let others = sessions.iter().cycle().skip(1);
    let mut bench = Bench::new(suite, &rig);
    let pairs = sessions.iter().zip(others).take(STREAMS);
    for (number, (session, other)) in pairs.enumerate() {
        let changes = changes(session, other, number);
        suite.told(&format!(
            "a stream of {} records, changed in {} ways",
            session.len(),
            changes.len()
        ));
        for change in changes {
            suite.bent += 1;
            if change.end == End::Right {
                suite.bent_tags.insert(name(change.tag));
            }
            suite.begin();
            suite.exercised(change.rule);
            bench.check(suite, &change, session)?;
            if suite.is_enough() {
                return Ok(());
            }
        }
    }
    for rule in RULES {
        suite.passed(rule);
    }
    Ok(())
}

/// A device that gets changed streams.
struct Bench<'r> {
    rig: &'r Rig,
    fresh: Fresh,
    works: Vec<(Work, Option<u32>)>,
    /// Streams that were taken.
    taken: usize,
}

impl<'r> Bench<'r> {
    fn new(suite: &Suite<'_>, rig: &'r Rig) -> Self {
        Bench {
            rig,
            fresh: suite.fresh(),
            works: suite.works(),
            taken: 0,
        }
    }

    /// Loads a stream into the stopped device; returns whether it was taken.
    fn load(&self, stream: &[u8]) -> Result<bool> {
        self.rig.set_state(State::Stop)?;
        let Some(file) = self.rig.set_state(State::Resuming)? else {
            return Ok(false);
        };
        let is_written = file.write_split(stream, &[LARGE]).is_ok();
        Ok(is_written && self.rig.set_state(State::Stop).is_ok())
    }

    fn check(&mut self, suite: &mut Suite<'_>, change: &Bent, session: &[Record]) -> Result<()> {
        let (rig, stream) = (self.rig, change.stream());
        // First into a device that has a state, of which nothing may remain or change.
        if let Some((work, interrupt)) = self.works.first() {
            moves::worked(suite, rig, work, *interrupt)?;
        }
        // The first one takes away what a read takes away.
        Snapshot::take_parts(rig, &suite.readable, &[Part::Registers])?;
        let before = Snapshot::take(rig, &suite.readable)?;
        if !self.load(&stream)? {
            let after = Snapshot::take(rig, &suite.readable)?;
            if let Some(what) = before.differs_in(&after, &Part::ALL) {
                suite.fail(change.rule, format!("{}: refused, and {what}", change.what));
            }
            return self.as_new(suite, change);
        }
        if change.end != End::Right {
            suite.fail(change.rule, format!("{}: taken", change.what));
        }
        let used = save(rig)?;
        rig.reset()?;
        if !self.load(&stream)? {
            suite.fail(
                change.rule,
                format!(
                    "{}: a new device refuses what a used one takes",
                    change.what
                ),
            );
            return self.as_new(suite, change);
        }
        let new = save(rig)?;
        if let Some(what) = unlike(&used, &new) {
            suite.fail(
                change.rule,
                format!(
                    "{}: taken, and something of the state before remains: {what}",
                    change.what
                ),
            );
        } else if let Some(what) = change.unlike(session, &new) {
            let shows = format!("{}: taken, and saved again {what}", change.what);
            suite.fail(change.rule, shows);
        } else if let Some(what) = self.lost(&change.records, &new) {
            suite.fail(change.rule, format!("{}: taken, and {what}", change.what));
        }
        suite.exercised("stream.works");
        let kept = self.kept(suite, change)?;
        if !kept.is_empty() || !suite.exercise.legal.is_empty() {
            suite.exercised("stream.legal");
        }
        if let Err(error) = save(rig) {
            let shows = format!("{}: taken, run and stopped: {error:#}", change.what);
            suite.fail("stream.works", shows);
        }
        self.is_legal(suite, change, kept)?;
        self.as_new(suite, change)?;
        self.taken += 1;
        // Whatever a state has broken stays broken, so not every one needs a work of its own.
        match self.taken % WORKS {
            1 => self.works(suite, change),
            _ => Ok(()),
        }
    }

    /// Checks that the device works after all this, in a work of its own.
    fn works(&self, suite: &mut Suite<'_>, change: &Bent) -> Result<()> {
        let Some((work, interrupt)) = self.works.last() else {
            return Ok(());
        };
        let name = &work.name;
        if let Err(fault) = moves::succeeds(suite, self.rig, work, *interrupt)? {
            let shows = format!("{}: taken, reset, and {name}: {}", change.what, fault.shows);
            suite.fail("stream.works", shows);
        }
        Ok(())
    }

    /// Returns what a device that has taken `records` saves otherwise. Records of a kind that
    /// occurs once are compared.
    fn lost(&self, records: &[Record], saved: &[u8]) -> Option<String> {
        let saved = parse(saved)?;
        let once = |records: &[Record], tag| {
            let mut of_tag = records.iter().filter(|record| record.tag == tag);
            of_tag.next().filter(|_| of_tag.next().is_none()).cloned()
        };
        records
            .iter()
            .filter(|record| record.is_of_driver())
            .find_map(|record| {
                let (given, kept) = (once(records, record.tag)?, once(&saved, record.tag)?);
                (given.payload != kept.payload).then(|| {
                    let at = first_difference(&given.payload, &kept.payload);
                    format!(
                        "saved again, record {} of {} bytes has {} and differs from byte {at} on",
                        name(record.tag),
                        given.payload.len(),
                        kept.payload.len()
                    )
                })
            })
    }

    /// Checks the registers that the exercise bounds, of a device that has taken a stream, and lets
    /// it run. Returns the registers that keep what is written to them, with what they held.
    fn kept(&self, suite: &mut Suite<'_>, change: &Bent) -> Result<Vec<(Register, u64)>> {
        let (rig, exercise) = (self.rig, suite.exercise);
        for legal in &exercise.legal {
            let value = rig.read(&legal.register)?;
            if value & !legal.bits != 0 || legal.below.is_some_and(|below| value >= below) {
                let shows = format!("{}: {} becomes {value:#x}", change.what, legal.register);
                suite.fail("stream.legal", shows);
            }
        }
        rig.set_state(State::Running)?;
        let mut kept = Vec::new();
        for (register, value) in suite.keeping().to_vec() {
            let found = rig.read(&register)?;
            rig.write(&register, value)?;
            // Some keep nothing in this state.
            if rig.read(&register)? == value {
                kept.push((register, found));
            }
        }
        Ok(kept)
    }

    /// Checks that a guest could have put these values into registers, of a device after a reset:
    /// one that has begun to work may ignore them.
    fn is_legal(
        &self,
        suite: &mut Suite<'_>,
        change: &Bent,
        kept: Vec<(Register, u64)>,
    ) -> Result<()> {
        let rig = self.rig;
        rig.reset()?;
        let mut others = Vec::new();
        for (register, found) in kept {
            if rig.read(&register)? != found {
                others.push((register, found));
            }
        }
        for (register, found) in others {
            rig.reset()?;
            rig.write(&register, found)?;
            let again = rig.read(&register)?;
            if again != found {
                suite.fail(
                    "stream.legal",
                    format!(
                        "{}: {register} becomes {found:#x}, and a guest that writes that reads {again:#x}",
                        change.what
                    ),
                );
            }
        }
        Ok(())
    }

    /// Checks that the device is as new after a reset.
    fn as_new(&self, suite: &mut Suite<'_>, change: &Bent) -> Result<()> {
        self.rig.reset()?;
        let state = self.rig.device.state();
        let what = self.fresh.differs(self.rig, &suite.readable)?;
        let what = what.or((state != Ok(State::Running)).then(|| format!("{state:?}")));
        if let Some(what) = what {
            suite.fail(
                change.rule,
                format!("{}: after a reset {what}", change.what),
            );
        }
        Ok(())
    }
}
