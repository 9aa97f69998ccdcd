// SPDX-License-Identifier: GPL-2.0
//! Plays works with a move at each of their steps, on each way, and compares with the same work
//! without a move.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use mig_common::exercise::step::Step;
use mig_common::exercise::{Exercise, Work};
use mig_common::random::Random;

use super::play::{Fault, Outcome, Player};
use super::rig::Rig;
use super::snapshot::{Name, Part};
use super::suite::Suite;
use super::transfer::{pause, save, Move};
use super::way::Way;

/// What a part of what a guest sees is a rule of.
const PARTS: [(Part, &str); 3] = [
    (Part::Registers, "move.registers"),
    (Part::DeviceMemory, "move.device-memory"),
    (Part::GuestMemory, "move.guest-memory"),
];

/// The rules that moves can violate.
const RULES: [&str; 13] = [
    "move.completes",
    "move.registers",
    "move.device-memory",
    "move.guest-memory",
    "move.interrupts",
    "cancel.state",
    "stop.device",
    "stop.guest-memory",
    "stop.interrupts",
    "stop.same",
    "load.same",
    "size.stop-copy",
    "size.near",
];

/// Plays a work without a move.
pub fn undisturbed(
    suite: &Suite<'_>,
    rig: &Rig,
    work: &Work,
    interrupt: Option<u32>,
) -> Result<Result<Outcome, Fault>> {
    match played(suite.exercise, rig, work, interrupt)? {
        Ok(player) => player.end(rig, &suite.readable),
        Err(fault) => Ok(Err(fault)),
    }
}

/// The same if only its success matters: reads nothing back.
pub fn succeeds(
    suite: &Suite<'_>,
    rig: &Rig,
    work: &Work,
    interrupt: Option<u32>,
) -> Result<Result<(), Fault>> {
    match played(suite.exercise, rig, work, interrupt)? {
        Ok(player) => Ok(player.rest(rig)?.map(drop)),
        Err(fault) => Ok(Err(fault)),
    }
}

/// Gives a device a state as unlike a new one's as a work makes it, and lets it rest: an interrupt,
/// if the work has one, is asserted and not handled.
pub fn worked(suite: &Suite<'_>, rig: &Rig, work: &Work, interrupt: Option<u32>) -> Result<()> {
    rig.reset()?;
    let mut player = Player::begin(suite.exercise, work, rig, interrupt)?;
    let signals = |step: &Step| matches!(step, Step::Interrupt(..));
    let first = work.steps.iter().position(signals);
    let end = first.map_or(work.steps.len(), |at| at + 1);
    let is_failed = player.play(rig, end)?.is_some();
    rig.listen(None)?;
    match is_failed {
        true => rig.reset(),
        false => rig.settle(suite.exercise),
    }
}

fn played<'e>(
    exercise: &'e Exercise,
    rig: &Rig,
    work: &'e Work,
    interrupt: Option<u32>,
) -> Result<Result<Player<'e>, Fault>> {
    rig.reset()?;
    let mut player = Player::begin(exercise, work, rig, interrupt)?;
    Ok(match player.play(rig, usize::MAX)? {
        Some(fault) => {
            rig.listen(None)?;
            Err(fault)
        }
        None => Ok(player),
    })
}

/// Plays the works without a move, all of them on one device, on another one, and on the first
/// again, and remembers what changes by itself.
pub fn alone(suite: &mut Suite<'_>) -> Result<()> {
    let (source, other) = suite.open_two()?;
    let rigs = [Some(&source), other.as_ref(), Some(&source)];
    let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for rig in rigs.into_iter().flatten() {
        for (work, interrupt) in suite.works() {
            let name = &work.name;
            suite.told(&format!("{name} without a move"));
            for rule in ["work.alone", "work.interrupts"] {
                suite.exercised(rule);
            }
            match undisturbed(suite, rig, &work, interrupt)? {
                Ok(outcome) => outcomes.entry(name.clone()).or_default().push(outcome),
                Err(fault) => {
                    suite.fail(fault.rule, format!("{name}: {}", fault.shows));
                    suite.forget(name);
                    if suite.is_enough() {
                        return Ok(());
                    }
                }
            }
        }
    }
    for one in outcomes.values() {
        suite.readable.volatile.extend(by_itself(one));
    }
    for rule in ["work.alone", "work.interrupts"] {
        suite.passed(rule);
    }
    Ok(())
}

/// Returns what changes by itself. That differs between any two times. What one device leaves
/// otherwise at another time, and two devices with the same past do not, is what a reset has
/// forgotten; what differs between two devices alone is what tells them apart.
fn by_itself(outcomes: &[Outcome]) -> BTreeSet<Name> {
    let Some((first, rest)) = outcomes.split_first() else {
        return BTreeSet::new();
    };
    let mut others = rest
        .iter()
        .map(|one| first.snapshot.all_differing(&one.snapshot));
    let differing = others.next().unwrap_or_default();
    others.fold(differing, |some, more| &some & &more)
}

/// Plays a work without a move, for the comparison with moves; none if it fails.
fn reference(
    suite: &mut Suite<'_>,
    rig: &Rig,
    work: &Work,
    interrupt: Option<u32>,
) -> Result<Option<Outcome>> {
    let played = undisturbed(suite, rig, work, interrupt)?;
    Ok(match played {
        Ok(outcome) => Some(outcome),
        Err(fault) => {
            suite.fail(fault.rule, format!("{}: {}", work.name, fault.shows));
            None
        }
    })
}

/// Plays the works with a move at each step.
pub fn moved(suite: &mut Suite<'_>) -> Result<()> {
    let (source, other) = suite.open_two()?;
    // Without another one, the device is reset and continues itself.
    let destination = other.as_ref().unwrap_or(&source);
    let ways: Vec<Way> = Way::ALL
        .into_iter()
        .filter(|way| suite.offers(*way))
        .collect();
    let mut random = Random::new(suite.seed);
    let works = suite.works().into_iter();
    let mut works: Vec<_> = works.map(|(work, with)| (work, with, None)).collect();
    // The simplest way with all works first.
    let has_rest = !suite.exercise.rest.is_empty();
    for (index, way) in ways.into_iter().enumerate() {
        // Either is met by every other way: work that is under way, and an end that nobody has
        // noticed yet.
        let later = match has_rest && index % 2 == 0 {
            true => Moment::AtRest,
            false => Moment::Random,
        };
        for (work, interrupt, alone) in &mut works {
            let (work, interrupt) = (&*work, *interrupt);
            // Played when it is first needed, because a violation may end everything before.
            let alone = match alone {
                Some(alone) => alone,
                None => alone.insert(reference(suite, &source, work, interrupt)?),
            };
            let Some(alone) = alone else { continue };
            suite.told(&format!("{}, moved by {way}", work.name));
            for step in 0..=work.steps.len() {
                let at_work = step > 0 && matches!(work.steps[step - 1], Step::Write(..));
                let later = at_work.then_some(later);
                for moment in [Moment::AtOnce].into_iter().chain(later) {
                    destination.reset()?;
                    let case = Case {
                        work,
                        interrupt,
                        way,
                        step,
                        moment,
                    };
                    case.run(suite, &source, destination, alone, &mut random)?;
                    if suite.is_enough() {
                        return Ok(());
                    }
                }
            }
        }
    }
    for rule in RULES {
        suite.passed(rule);
    }
    Ok(())
}

/// When a device is moved after a step.
#[derive(Clone, Copy)]
enum Moment {
    /// At once.
    AtOnce,
    /// A random time later.
    Random,
    /// When it has done what it has to do.
    AtRest,
}

struct Case<'a> {
    work: &'a Work,
    interrupt: Option<u32>,
    way: Way,
    /// The number of steps before the move.
    step: usize,
    moment: Moment,
}

impl Case<'_> {
    fn run(
        &self,
        suite: &mut Suite<'_>,
        source: &Rig,
        destination: &Rig,
        alone: &Outcome,
        random: &mut Random,
    ) -> Result<()> {
        source.reset()?;
        suite.begin();
        let result = self.play(suite, source, destination, alone, random);
        let result = result.unwrap_or_else(|error| Err(Fault::of("move.completes", error)));
        suite.moves += 1;
        suite.was_moved(self.way);
        for rule in RULES.into_iter().filter(|rule| self.way.shows(rule)) {
            suite.exercised(rule);
        }
        if let Err(fault) = result {
            let when = match self.step {
                0 => "before the first step".into(),
                step => format!("after step {step}, {}", self.work.steps[step - 1]),
            };
            suite.fail(
                self.rule_of(fault.rule),
                format!(
                    "{}: moved by {} {when}: {}",
                    self.work.name, self.way, fault.shows
                ),
            );
            source.listen(None)?;
            destination.listen(None)?;
            destination.reset()?;
        }
        Ok(())
    }

    /// Returns the rule of a fault after a move.
    fn rule_of(&self, rule: &'static str) -> &'static str {
        match rule {
            _ if self.way.is_cancelled()
                && (rule.starts_with("work.") || rule.starts_with("move.")) =>
            {
                "cancel.state"
            }
            "work.alone" => "move.registers",
            "work.interrupts" => "move.interrupts",
            other => other,
        }
    }

    fn play(
        &self,
        suite: &mut Suite<'_>,
        source: &Rig,
        destination: &Rig,
        alone: &Outcome,
        random: &mut Random,
    ) -> Result<Result<(), Fault>> {
        let mut player = Player::begin(suite.exercise, self.work, source, self.interrupt)?;
        if let Some(fault) = player.play(source, self.step)? {
            return Ok(Err(fault));
        }
        match self.moment {
            Moment::AtOnce => {}
            Moment::Random => pause(random, source)?,
            Moment::AtRest => drop(source.comes_to_rest(suite.exercise)?),
        }
        let one = Move {
            source,
            destination,
            readable: &suite.readable,
            interrupt: self.interrupt,
            way: self.way,
        };
        let between = || match self.way {
            // To a device that has another state, and has saved it after this one: there is no
            // place but the stream from which this one's can be loaded.
            Way::Used => destination.keeping_guest(|| {
                let (other, interrupt) = suite.unlike(self.work);
                worked(suite, destination, other, interrupt)?;
                save(destination).map(drop)
            }),
            _ => Ok(()),
        };
        let stream = match one.make(&mut player, between)? {
            Ok(stream) => stream,
            Err(fault) => return Ok(Err(fault)),
        };
        suite.seen(stream);
        let place = if self.way.is_cancelled() {
            source
        } else {
            destination
        };
        if let Some(fault) = player.play(place, usize::MAX)? {
            return Ok(Err(fault));
        }
        let outcome = match player.end(place, &suite.readable)? {
            Ok(outcome) => outcome,
            Err(fault) => return Ok(Err(fault)),
        };
        for (part, rule) in PARTS {
            if let Some(shows) = alone.snapshot.differs(&outcome.snapshot, part) {
                return Ok(Err(Fault { rule, shows }));
            }
        }
        if outcome.spurious.exceed(&alone.spurious) {
            let shows = format!("{} signals without a cause", outcome.spurious.total());
            return Ok(Err(Fault {
                rule: "move.interrupts",
                shows,
            }));
        }
        Ok(Ok(()))
    }
}
