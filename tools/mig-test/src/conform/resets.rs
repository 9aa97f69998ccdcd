// SPDX-License-Identifier: GPL-2.0
//! Resets a device in the middle of its works, and compares it with a new one.

use std::collections::BTreeSet;

use anyhow::Result;
use mig_common::exercise::step::Step;
use mig_common::exercise::Work;

use super::moves::undisturbed;
use super::play::{Outcome, Player};
use super::records::{parse, unlike};
use super::rig::Rig;
use super::snapshot::{first_difference, Name, Part, Readable, Snapshot};
use super::suite::Suite;
use super::transfer::save;
use crate::vfio::migration::State;

/// What a reset must bring back; guest memory is not the device's.
const PARTS: [Part; 2] = [Part::Registers, Part::DeviceMemory];

/// A device that nothing was done to yet.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// What a guest finds.
    snapshot: Snapshot,
    /// What it saves: also what no register shows. None if it saves nothing, or not the same twice.
    stream: Option<Vec<u8>>,
}

impl Fresh {
    /// Looks at a new device.
    pub fn of(rig: &Rig, readable: &Readable) -> Result<Fresh> {
        let snapshot = Snapshot::take_parts(rig, readable, &PARTS)?;
        let stream = match (save(rig), save(rig)) {
            (Ok(one), Ok(two)) if one == two && !one.is_empty() => Some(one),
            _ => None,
        };
        Ok(Fresh { snapshot, stream })
    }

    /// Leaves out what changes by itself.
    pub fn forget(&mut self, volatile: &BTreeSet<Name>) {
        self.snapshot.forget(volatile);
    }

    /// Returns what a guest finds otherwise.
    pub fn differs(&self, rig: &Rig, readable: &Readable) -> Result<Option<String>> {
        let now = Snapshot::take_parts(rig, readable, &PARTS)?;
        Ok(self.snapshot.differs_in(&now, &PARTS))
    }

    /// Returns what is saved otherwise. The device is stopped afterwards.
    fn saves_otherwise(&self, rig: &Rig) -> Result<Option<String>> {
        let Some(fresh) = &self.stream else {
            return Ok(None);
        };
        let now = save(rig)?;
        let is_of_records = parse(fresh).is_some() && parse(&now).is_some();
        let what = match is_of_records {
            true => unlike(fresh, &now),
            false => (*fresh != now).then(|| {
                let at = first_difference(fresh, &now);
                format!("differs from byte {at} on")
            }),
        };
        Ok(what.map(|what| format!("what it saves is not what a new device saves: {what}")))
    }
}

/// Resets the device at each step of each work, in each state; it must be as new and work.
pub fn reset(suite: &mut Suite<'_>) -> Result<()> {
    let rig = suite.open()?;
    let fresh = suite.fresh();
    let states: Vec<State> = State::TARGETS
        .into_iter()
        .filter(|state| suite.has(*state))
        .collect();
    for (work, interrupt) in suite.works() {
        let name = &work.name;
        suite.told(&format!("{name}, reset"));
        let alone = match undisturbed(suite, &rig, &work, interrupt)? {
            Ok(alone) => alone,
            Err(fault) => {
                // It has run before; what came between are resets.
                let shows = format!("{name}: after a reset: {}", fault.shows);
                suite.fail("reset.runs", shows);
                if suite.is_enough() {
                    return Ok(());
                }
                continue;
            }
        };
        for step in 1..=work.steps.len() {
            let one = Case {
                rig: &rig,
                fresh: &fresh,
                work: &work,
                interrupt,
                step,
                state: states[step % states.len()],
            };
            suite.begin();
            for rule in ["reset.runs", "reset.fresh"] {
                suite.exercised(rule);
            }
            one.run(suite, &alone)?;
            if suite.is_enough() {
                return Ok(());
            }
        }
    }
    for rule in ["reset.runs", "reset.fresh"] {
        suite.passed(rule);
    }
    Ok(())
}

/// A reset after a step of a work, in a state.
struct Case<'a> {
    rig: &'a Rig,
    fresh: &'a Fresh,
    work: &'a Work,
    interrupt: Option<u32>,
    step: usize,
    state: State,
}

impl Case<'_> {
    fn run(&self, suite: &mut Suite<'_>, alone: &Outcome) -> Result<()> {
        let rig = self.rig;
        let (name, at) = (&self.work.name, &self.work.steps[self.step - 1]);
        let when = format!(
            "{name}: reset in {:?} after step {}, {at}",
            self.state, self.step
        );
        self.disturb(suite)?;
        if let Some(what) = self.fresh.differs(rig, &suite.readable)? {
            suite.fail("reset.fresh", format!("{when}: {what}"));
        }
        if rig.device.state() != Ok(State::Running) {
            let state = rig.device.state();
            suite.fail("reset.runs", format!("{when}: the state is {state:?}"));
        }
        if let Some(what) = self.works(suite, alone)? {
            suite.fail("reset.runs", format!("{when}: {what}"));
        }
        // Once with the work under way and once at its end: what no register shows.
        let first = self.work.steps.iter().position(Step::waits);
        if first == Some(self.step) || self.step == self.work.steps.len() {
            self.disturb(suite)?;
            if let Some(what) = self.fresh.saves_otherwise(rig)? {
                suite.fail("reset.fresh", format!("{when}: {what}"));
            }
        }
        Ok(())
    }

    /// Works up to the step, goes to the state, and resets.
    fn disturb(&self, suite: &Suite<'_>) -> Result<()> {
        let rig = self.rig;
        rig.reset()?;
        let mut player = Player::begin(suite.exercise, self.work, rig, self.interrupt)?;
        player.play(rig, self.step)?;
        let set = rig.set_state(self.state);
        let file = set.as_ref().ok().and_then(Option::as_ref);
        if let (Some(file), true) = (file, self.state != State::Resuming) {
            file.read(&mut [0; 100]).ok();
        }
        rig.listen(None)?;
        rig.reset()
    }

    /// Works; returns what is not as it was without a reset before.
    fn works(&self, suite: &Suite<'_>, alone: &Outcome) -> Result<Option<String>> {
        let rig = self.rig;
        let mut player = Player::begin(suite.exercise, self.work, rig, self.interrupt)?;
        let ended = match player.play(rig, usize::MAX)? {
            Some(fault) => {
                rig.listen(None)?;
                Err(fault)
            }
            None => player.end(rig, &suite.readable)?,
        };
        Ok(match ended {
            Err(fault) => Some(fault.shows),
            Ok(outcome) => {
                let what = alone.snapshot.differs_in(&outcome.snapshot, &Part::ALL);
                what.map(|what| format!("at the end {what}"))
            }
        })
    }
}
