// SPDX-License-Identifier: GPL-2.0
//! A device that goes through the suite: what it offers, what it is made to do, and what has been
//! found.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{bail, ensure, Result};
use mig_common::exercise::place::Register;
use mig_common::exercise::step::Step;
use mig_common::exercise::{Exercise, Work};

use super::coverage;
use super::explore::{explore, Found};
use super::log::DeviceLog;
use super::records::tags;
use super::report::{Count, Report, Verdict};
use super::resets::Fresh;
use super::rig::{guest_memory, Arcs, Guest, Rig};
use super::rule::{self, Rule};
use super::snapshot::{touched, Readable};
use super::way::Way;
use crate::scenario::target::Target;
use crate::scenario::Oracle;
use crate::vfio::migration::State;

/// How the suite is run.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The rules and groups to check; none for all.
    pub rules: Vec<String>,
    /// Whether to stop after the first violation.
    pub is_short: bool,
    /// The seed of random moments.
    pub seed: u64,
    /// What was found out about the registers of another device of the same kind.
    pub found: Option<Found>,
}

/// A device in the suite.
pub struct Suite<'a> {
    step: &'a mut dyn FnMut(String),
    target: &'a Target,
    other: Option<Target>,
    /// The author's description of its work, or an empty one.
    pub exercise: &'a Exercise,
    /// What can be read, apart from memory.
    pub readable: Readable,
    /// What has been found.
    pub report: Report,
    /// The seed of random moments.
    pub seed: u64,
    /// Moves so far.
    pub moves: u64,
    /// Bent streams so far.
    pub bent: u64,
    /// The tags of bent records.
    pub bent_tags: BTreeSet<String>,
    choice: Choice,
    works: Vec<(Work, Option<u32>)>,
    found: Found,
    guest: Guest,
    arcs: Arcs,
    oracle: Rc<Oracle>,
    has_v1: bool,
    longest: Vec<u8>,
    fresh: Fresh,
    log: DeviceLog,
    /// Rules of which there was a case.
    exercised: BTreeSet<&'static str>,
    /// The ways on which the device was moved.
    ways: BTreeSet<String>,
}

impl<'a> Suite<'a> {
    /// Explores a device.
    pub fn new(
        step: &'a mut dyn FnMut(String),
        target: &'a Target,
        exercise: &'a Exercise,
        report: Report,
        choice: &Choice,
    ) -> Result<Self> {
        let guest = guest_memory(exercise)?;
        let arcs: Arcs = Rc::new(RefCell::default());
        let unknown = Rc::new(Oracle::new(0));
        let first = Rig::open(target.path(), &guest, &arcs, &unknown)?;
        let oracle = Rc::new(Oracle::new(first.device.migration_flags()?));
        let has_v1 = first.device.migration_region()?.is_some();
        let found = match &choice.found {
            Some(found) => found.clone(),
            None => {
                step("exploring the registers".into());
                // Another one, because this one is to be a new one.
                match target.another()? {
                    Some(other) => {
                        let other = Rig::open(other.path(), &guest, &arcs, &unknown)?;
                        explore(&other, exercise)?
                    }
                    None => explore(&first, exercise)?,
                }
            }
        };
        let kinds: Vec<(&str, u32)> = first.interrupts();
        let kinds = kinds.into_iter().filter(|(name, _)| {
            exercise.interrupts.is_empty()
                || exercise.interrupts.iter().any(|wanted| wanted == name)
        });
        let kinds: Vec<_> = kinds.collect();
        let mut works = Vec::new();
        let own = found.work(&first);
        // A device that is made to do nothing can be moved, too.
        if !own.steps.is_empty() || exercise.works.is_empty() {
            works.push((own, None));
        }
        for work in &exercise.works {
            let waits = work
                .steps
                .iter()
                .any(|step| matches!(step, Step::Interrupt(..)));
            if !waits {
                works.push((work.clone(), None));
                continue;
            }
            ensure!(
                !kinds.is_empty(),
                "the work \"{}\" waits for an interrupt, and the device has none of those types",
                work.name
            );
            for (name, index) in &kinds {
                let name = format!("{} ({name})", work.name);
                works.push((
                    Work {
                        name,
                        ..work.clone()
                    },
                    Some(*index),
                ));
            }
        }
        let mut readable = found.readable.clone();
        readable.touched = works.iter().flat_map(|(work, _)| touched(work)).collect();
        let fresh = Fresh::of(&first, &readable)?;
        let other = target.another()?;
        let log = DeviceLog::of([target].into_iter().chain(&other));
        Ok(Suite {
            step,
            other,
            target,
            exercise,
            readable,
            report,
            seed: choice.seed,
            moves: 0,
            bent: 0,
            bent_tags: BTreeSet::new(),
            choice: choice.clone(),
            works,
            found,
            guest,
            arcs,
            oracle,
            has_v1,
            longest: Vec::new(),
            fresh,
            log,
            exercised: BTreeSet::new(),
            ways: BTreeSet::new(),
        })
    }

    /// Begins a case: what the kernel has logged so far is not of it.
    pub fn begin(&mut self) {
        self.log.begin();
    }

    /// Reports a violation, with what the kernel has logged meanwhile of the device.
    pub fn fail(&mut self, rule: &str, shows: String) {
        self.report.fail(rule, self.log.with(shows));
    }

    /// Notes that there was a case of a rule.
    pub fn exercised(&mut self, rule: &'static str) {
        self.exercised.insert(rule);
    }

    /// Notes a way on which the device was moved.
    pub fn was_moved(&mut self, way: Way) {
        self.ways.insert(way.to_string());
    }

    /// Returns what is known of the device as it was when it was new.
    pub fn fresh(&self) -> Fresh {
        let mut fresh = self.fresh.clone();
        fresh.forget(&self.readable.volatile);
        fresh
    }

    /// Runs the checks of some groups, if one of them is wanted.
    pub fn run(&mut self, groups: &[&str], rule: &str, checks: fn(&mut Self) -> Result<()>) {
        if groups.iter().any(|group| self.wants(group)) {
            self.run_all(groups, rule, checks);
        }
    }

    /// Runs the checks of some groups. If they cannot come to their end, that violates `rule`, and
    /// those that are left are skipped.
    pub fn run_all(&mut self, groups: &[&str], rule: &str, checks: fn(&mut Self) -> Result<()>) {
        self.begin();
        if let Err(error) = checks(self) {
            self.fail(rule, format!("the checks end here: {error:#}"));
            let of_them = |one: &&Rule| groups.contains(&one.group());
            for left in rule::RULES.iter().filter(of_them) {
                self.skipped(left.id, &format!("{rule} has ended the checks"));
            }
        }
    }

    /// Reports the current activity.
    pub fn told(&mut self, text: &str) {
        (self.step)(text.into());
    }

    /// Opens the device.
    pub fn open(&self) -> Result<Rig> {
        Rig::open(self.target.path(), &self.guest, &self.arcs, &self.oracle)
    }

    /// Opens the device, and another one of its kind if there can be one.
    pub fn open_two(&self) -> Result<(Rig, Option<Rig>)> {
        let other = self.other.as_ref();
        let other =
            other.map(|other| Rig::open(other.path(), &self.guest, &self.arcs, &self.oracle));
        Ok((self.open()?, other.transpose()?))
    }

    /// Returns the works, with the interrupts that they are played with.
    pub fn works(&self) -> Vec<(Work, Option<u32>)> {
        self.works.clone()
    }

    /// Returns the next work with other steps; the same one if there is none.
    pub fn unlike<'w>(&'w self, work: &'w Work) -> (&'w Work, Option<u32>) {
        let at = self.works.iter().position(|(one, _)| one.name == work.name);
        let later = self.works.iter().cycle().skip(at.unwrap_or(0));
        let mut others = later.take(self.works.len());
        let other = others.find(|(one, _)| one.steps != work.steps);
        other.map_or((work, None), |(one, interrupt)| (one, *interrupt))
    }

    /// Leaves out a work that does not run even without a move.
    pub fn forget(&mut self, name: &str) {
        self.works.retain(|(work, _)| work.name != name);
    }

    /// Returns what was found out about the registers.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Returns whether a BAR, or a part of one, is memory.
    pub fn has_memory(&self) -> bool {
        self.found.has_memory
    }

    /// Returns the registers that keep a value, each with one.
    pub fn keeping(&self) -> &[(Register, u64)] {
        &self.found.keeping
    }

    /// Returns whether the device has a state.
    pub fn has(&self, state: State) -> bool {
        self.oracle.supports(state)
    }

    /// Returns whether the device can be moved that way.
    pub fn offers(&self, way: Way) -> bool {
        let is_there = if way.is_v1() {
            self.has_v1
        } else {
            self.has(State::StopCopy)
        };
        let pre_copy = !way.needs_pre_copy() || self.has(State::PreCopy);
        let p2p = !way.needs_p2p() || self.has(State::PreCopyP2p);
        is_there && pre_copy && p2p && (way != Way::Used || self.other.is_some())
    }

    /// Returns whether what was found so far is enough.
    pub fn is_enough(&self) -> bool {
        self.choice.is_short && !self.report.failed().is_empty()
    }

    /// Returns whether a rule, or one of a group, is checked.
    pub fn wants(&self, group: &str) -> bool {
        let mut rules = rule::RULES.iter();
        let chosen = |id| rule::is_chosen(id, &self.choice.rules);
        rules.any(|one| one.id.starts_with(group) && chosen(one.id)) && !self.is_enough()
    }

    /// Notes that a rule was checked and holds, unless a violation was found, or the device or the
    /// exercise lacks what it is about.
    pub fn passed(&mut self, rule: &str) {
        let verdict = match self.lacks(rule) {
            Some(reason) => Verdict::Skipped {
                reason: reason.into(),
            },
            None if !self.exercised.contains(rule) => Verdict::Skipped {
                reason: "nothing that the device offers and the exercise does shows it".into(),
            },
            None => Verdict::Passed,
        };
        if rule::is_chosen(rule, &self.choice.rules) {
            self.report.add(rule, verdict);
        }
    }

    /// Notes that a rule was not checked.
    pub fn skipped(&mut self, rule: &str, reason: &str) {
        if rule::is_chosen(rule, &self.choice.rules) {
            self.report.add(
                rule,
                Verdict::Skipped {
                    reason: reason.into(),
                },
            );
        }
    }

    fn lacks(&self, rule: &str) -> Option<&'static str> {
        let mut steps = self.works.iter().flat_map(|(work, _)| &work.steps);
        let memory = || self.found.has_memory;
        match rule {
            _ if self.works.is_empty() => Some("no work comes to its end without a move"),
            "move.interrupts" | "work.interrupts" | "stop.interrupts"
                if !steps.any(|step| matches!(step, Step::Interrupt(..))) =>
            {
                Some("the exercise waits for no interrupt")
            }
            "move.device-memory" if !memory() => Some("no BAR of the device is memory"),
            "move.guest-memory" | "stop.guest-memory" if self.exercise.memory.is_empty() => {
                Some("the exercise has no guest memory")
            }
            _ => None,
        }
    }

    /// Remembers a stream.
    pub fn seen(&mut self, stream: Vec<u8>) {
        if stream.len() > self.longest.len() {
            self.longest = stream;
        }
    }

    /// Ends the suite and returns what was found.
    pub fn finish(mut self) -> Report {
        let ways = Way::ALL.iter().map(ToString::to_string).collect();
        let covered = &mut self.report.coverage;
        covered.ways = Count::of(&self.ways, &ways);
        covered.arcs = Count::of(&self.arcs.borrow(), &self.oracle.names());
        covered.records = Count::of(&self.bent_tags, &tags(&self.longest));
        covered.registers = coverage::registers(&self.found, self.exercise);
        covered.interrupts = coverage::interrupts(&self.found, &self.works);
        covered.stream_bytes = self.longest.len();
        covered.moves = self.moves;
        covered.bent_streams = self.bent;
        covered.sensitive = self
            .readable
            .sensitive
            .iter()
            .map(ToString::to_string)
            .collect();
        let volatile = self.readable.volatile.iter();
        covered.volatile = volatile.map(ToString::to_string).collect();
        let reason = match self.is_enough() {
            true => "the suite was to stop at the first violation",
            false => "the device offers nothing that it applies to",
        };
        self.report.finish(&self.choice.rules, reason);
        self.report
    }

    /// Requires that the device can be migrated at all.
    pub fn ensure_migrates(&self) -> Result<()> {
        if !self.has(State::StopCopy) && !self.has_v1 {
            bail!("the device offers no migration: neither VFIO_DEVICE_FEATURE_MIGRATION nor v1's region");
        }
        Ok(())
    }
}
