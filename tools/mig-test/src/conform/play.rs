// SPDX-License-Identifier: GPL-2.0
//! Plays the work of an exercise on a device, step by step, as a guest would do it.

use anyhow::Result;
use mig_common::exercise::place::Place;
use mig_common::exercise::step::{Condition, Step};
use mig_common::exercise::{Exercise, Work};

use super::rig::Rig;
use super::signals::Signals;
use super::snapshot::{first_difference, Readable, Snapshot};

/// Signals without a cause after which a work gives up.
const SPURIOUS: u64 = 100;

/// A failure of the device, as the rule that it violates and what was found.
#[derive(Debug)]
pub struct Fault {
    /// The rule.
    pub rule: &'static str,
    /// What was found.
    pub shows: String,
}

impl Fault {
    /// A call that failed, as a violation of `rule`.
    pub fn of(rule: &'static str, error: anyhow::Error) -> Fault {
        let shows = format!("{error:#}");
        Fault { rule, shows }
    }
}

/// A work that is played, and what has come of it so far.
pub struct Player<'e> {
    exercise: &'e Exercise,
    work: &'e Work,
    /// The number of steps done.
    pub done: usize,
    /// Signals without a cause.
    spurious: Signals,
    /// Signals that have arrived and that the work has not waited for yet.
    pub arrived: Signals,
}

/// What a work leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What a guest can read at the end.
    pub snapshot: Snapshot,
    /// Signals that nothing waited for.
    pub spurious: Signals,
}

impl<'e> Player<'e> {
    /// Begins a work: fills guest memory, and listens to `interrupt` of the device, which must have
    /// been reset.
    pub fn begin(
        exercise: &'e Exercise,
        work: &'e Work,
        rig: &Rig,
        interrupt: Option<u32>,
    ) -> Result<Self> {
        for (index, memory) in exercise.memory.iter().enumerate() {
            let bytes = memory.fill.bytes(memory.size.0 as usize);
            rig.write_bytes(Place::Memory(index, 0), &bytes)?;
        }
        rig.listen(interrupt)?;
        Ok(Player {
            exercise,
            work,
            done: 0,
            spurious: Signals::default(),
            arrived: Signals::default(),
        })
    }

    /// Plays steps until `end` of them are done.
    pub fn play(&mut self, rig: &Rig, end: usize) -> Result<Option<Fault>> {
        while self.done < end.min(self.work.steps.len()) {
            let step = &self.work.steps[self.done];
            let number = self.done + 1;
            let played = self.step(rig, step);
            // An access that fails is the device's fault as well.
            let fault = played.unwrap_or_else(|error| Some(Fault::of("work.alone", error)));
            if let Some(fault) = fault {
                let shows = format!("step {number}, {step}: {}", fault.shows);
                return Ok(Some(Fault { shows, ..fault }));
            }
            self.done += 1;
        }
        Ok(None)
    }

    /// Plays the next step if it only writes, which does not wait for what a device does by itself.
    pub fn play_write(&mut self, rig: &Rig) -> Result<Option<Fault>> {
        let writes =
            |step: &Step| matches!(step, Step::Write(..) | Step::Fill(..) | Step::Words(..));
        match self.work.steps.get(self.done) {
            Some(step) if writes(step) && !self.work.settles => self.play(rig, self.done + 1),
            _ => Ok(None),
        }
    }

    fn step(&mut self, rig: &Rig, step: &Step) -> Result<Option<Fault>> {
        let fault = |shows: String| {
            Ok(Some(Fault {
                rule: "work.alone",
                shows,
            }))
        };
        match step {
            Step::Write(register, value) => {
                if self.work.settles {
                    rig.settle(self.exercise)?;
                }
                rig.write(register, *value)?;
            }
            Step::Read(wanted) => {
                let found = rig.read(&wanted.register)? & wanted.mask;
                if found != wanted.value {
                    return fault(format!("it is {found:#x}"));
                }
            }
            Step::Wait(wanted) => {
                if !rig.until(|| rig.holds(wanted))? {
                    let found = rig.read(&wanted.register)?;
                    return fault(format!("it stays {found:#x}"));
                }
            }
            Step::Interrupt(vector, cause) => {
                return self.interrupt(rig, *vector, cause.as_ref());
            }
            Step::Fill(place, size, fill) => rig.write_bytes(*place, &fill.bytes(*size))?,
            Step::Words(place, words) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                rig.write_bytes(*place, &bytes)?;
            }
            Step::Equal(left, right, size) => {
                let (mut one, mut other) = (vec![0; *size], vec![0; *size]);
                rig.read_bytes(*left, &mut one)?;
                rig.read_bytes(*right, &mut other)?;
                if one != other {
                    let at = first_difference(&one, &other);
                    return fault(format!(
                        "byte {at:#x} is {:#04x} there and {:#04x} here",
                        one[at], other[at]
                    ));
                }
            }
        }
        Ok(None)
    }

    /// Waits for an interrupt as a guest's handler does: a signal without the cause is spurious.
    fn interrupt(
        &mut self,
        rig: &Rig,
        vector: usize,
        cause: Option<&Condition>,
    ) -> Result<Option<Fault>> {
        let fault = |shows: String| {
            let rule = "work.interrupts";
            Ok(Some(Fault { rule, shows }))
        };
        let vector = rig.listened(vector);
        // A level that stays asserted for another cause signals for ever.
        for _ in 0..SPURIOUS {
            let mut signals = self.arrived.take(vector);
            if signals == 0 {
                rig.unmask()?;
                signals = rig.await_signal(vector)?;
            }
            if signals == 0 {
                return fault("it does not come".into());
            }
            if cause.map_or(Ok(true), |cause| rig.holds(cause))? {
                self.spurious.count(vector, signals - 1);
                return Ok(None);
            }
            self.spurious.count(vector, signals);
        }
        fault(format!("it came {SPURIOUS} times without the cause"))
    }

    /// Ends the work: waits for the device to rest, and returns what it leaves.
    pub fn end(self, rig: &Rig, readable: &Readable) -> Result<Result<Outcome, Fault>> {
        let spurious = match self.rest(rig)? {
            Ok(spurious) => spurious,
            Err(fault) => return Ok(Err(fault)),
        };
        let snapshot = Snapshot::take_all(rig, readable);
        Ok(match snapshot {
            Ok(snapshot) => Ok(Outcome { snapshot, spurious }),
            Err(error) => Err(Fault::of("work.alone", error)),
        })
    }

    /// Waits for the device to rest after the work, whose steps are all done, and returns the
    /// number of signals that nothing waited for.
    pub fn rest(mut self, rig: &Rig) -> Result<Result<Signals, Fault>> {
        if !rig.comes_to_rest(self.exercise)? {
            rig.listen(None)?;
            let (rule, shows) = ("work.alone", "the device does not come to rest".into());
            return Ok(Err(Fault { rule, shows }));
        }
        rig.unmask()?;
        self.spurious.add(&self.arrived);
        self.spurious.add(&rig.signals()?);
        rig.listen(None)?;
        Ok(Ok(self.spurious))
    }
}

impl Rig {
    /// Returns whether a register has a value.
    fn holds(&self, wanted: &Condition) -> Result<bool> {
        Ok(self.read(&wanted.register)? & wanted.mask == wanted.value)
    }

    /// Waits for the device to be at rest; returns whether it comes to that.
    pub fn comes_to_rest(&self, exercise: &Exercise) -> Result<bool> {
        self.until(|| {
            for condition in &exercise.rest {
                if !self.holds(condition)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Lets the device end what a write has started: until then it may ignore what is written. One
    /// that does not come to rest is reset.
    pub fn settle(&self, exercise: &Exercise) -> Result<()> {
        match self.comes_to_rest(exercise)? {
            true => Ok(()),
            false => self.reset(),
        }
    }
}
