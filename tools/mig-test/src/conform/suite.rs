// SPDX-License-Identifier: GPL-2.0
//! A device that goes through the suite: what it offers, what it is made to do, and what has been
//! found.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{bail, ensure, Result};

use super::exercise::{Exercise, Work};
use super::explore::{explore, Found};
use super::place::{Place, Register};
use super::records::tags;
use super::report::{Count, Report, Verdict};
use super::rig::{guest_memory, Arcs, Guest, Rig};
use super::rule;
use super::snapshot::Readable;
use super::step::Step;
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
        let first = Rig::open(target.path(), &guest, &arcs, &Rc::new(Oracle::new(0)))?;
        let oracle = Rc::new(Oracle::new(first.device.migration_flags()?));
        let has_v1 = first.device.migration_region()?.is_some();
        let found = match &choice.found {
            Some(found) => found.clone(),
            None => {
                step("exploring the registers".into());
                explore(&first, exercise)?
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
        if !own.steps.is_empty() {
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
        Ok(Suite {
            step,
            other: target.another()?,
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
        })
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

    /// Leaves out a work that does not run even without a move.
    pub fn forget(&mut self, name: &str) {
        self.works.retain(|(work, _)| work.name != name);
    }

    /// Returns what was found out about the registers.
    pub fn found(&self) -> &Found {
        &self.found
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
        let kept = self.found.keeping.iter().map(|(register, _)| *register);
        let used = self.exercise.works.iter().flat_map(|work| &work.steps);
        let used = used.filter_map(|step| match step {
            Step::Write(register, _) => Some(*register),
            Step::Read(wanted) | Step::Wait(wanted) | Step::Interrupt(_, Some(wanted)) => {
                Some(wanted.register)
            }
            _ => None,
        });
        let registers = bytes(kept.chain(used));
        let all = bytes(self.readable.registers.iter().copied());
        let kinds = &self.found.interrupts;
        let vectors = kinds.iter().flat_map(|&(index, count)| {
            (0..count as usize).map(move |vector| vector_name(index, vector, count))
        });
        let vectors: BTreeSet<String> = vectors.collect();
        let waited = self.works.iter().flat_map(|(work, index)| {
            let kind = kinds.iter().find(|(known, _)| Some(*known) == *index);
            let steps = work
                .steps
                .iter()
                .filter_map(move |step| match (kind, step) {
                    (Some(&(index, count)), Step::Interrupt(vector, _)) => {
                        let vector = (*vector).min(count as usize - 1);
                        Some(vector_name(index, vector, count))
                    }
                    _ => None,
                });
            steps
        });
        let waited = waited.collect();
        let coverage = &mut self.report.coverage;
        coverage.arcs = Count::of(&self.arcs.borrow(), &self.oracle.names());
        coverage.records = Count::of(&self.bent_tags, &tags(&self.longest));
        coverage.registers = Count::of(&registers, &all);
        coverage.interrupts = Count::of(&waited, &vectors);
        coverage.stream_bytes = self.longest.len();
        coverage.moves = self.moves;
        coverage.bent_streams = self.bent;
        coverage.sensitive = self
            .readable
            .sensitive
            .iter()
            .map(ToString::to_string)
            .collect();
        let volatile = self.readable.volatile.iter();
        coverage.volatile = volatile.map(ToString::to_string).collect();
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

/// Returns the names of the bytes of registers.
fn bytes(registers: impl Iterator<Item = Register>) -> BTreeSet<String> {
    let bytes = |one: Register| {
        let offsets = one.offset..one.offset + one.width as u64;
        offsets.map(move |offset| format!("{}:{offset:#04x}", one.bar))
    };
    registers.flat_map(bytes).collect()
}

/// Returns the pages of BARs that a work touches: BAR, offset, bytes.
fn touched(work: &Work) -> Vec<(u32, u64, usize)> {
    const PAGE: u64 = 4096;
    let pages = |place: &Place, len: usize| match place {
        Place::Memory(..) => None,
        Place::Bar(bar, offset) => {
            let start = offset / PAGE * PAGE;
            let end = (offset + len as u64).next_multiple_of(PAGE);
            Some((*bar, start, (end - start) as usize))
        }
    };
    let of_step = |step: &Step| match step {
        Step::Fill(place, size, _) => vec![pages(place, *size)],
        Step::Words(place, words) => vec![pages(place, 4 * words.len())],
        Step::Equal(one, other, size) => vec![pages(one, *size), pages(other, *size)],
        _ => Vec::new(),
    };
    let touched = work.steps.iter().flat_map(of_step);
    touched.flatten().collect()
}

/// Returns the name of a vector of a type of interrupt that has so many.
fn vector_name(index: u32, vector: usize, count: u32) -> String {
    let known = super::rig::INTERRUPTS
        .iter()
        .find(|(_, known)| *known == index);
    let name = known.map_or("unknown", |(name, _)| name);
    match count {
        1 => name.to_string(),
        _ => format!("{name} {vector}"),
    }
}
