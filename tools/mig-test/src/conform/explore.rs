// SPDX-License-Identifier: GPL-2.0
//! Finds out what can be read and what keeps a value, without knowing the device: walks the BARs
//! that are not memory by each width, writes and reads back.

use std::collections::BTreeSet;

use anyhow::Result;
use mig_common::exercise::place::{Place, Register};
use mig_common::exercise::step::Step;
use mig_common::exercise::{Exercise, Fill, Work};

use super::rig::Rig;
use super::snapshot::Readable;
use super::transfer::{wait, LOOKS};

/// Bytes at the beginning of a BAR that are walked by each width; what follows is sampled.
const WALKED: u64 = 4096;
/// The distance of samples in a larger BAR.
const SAMPLED: u64 = 1 << 16;
/// Widths of accesses, the largest first.
const WIDTHS: [usize; 4] = [8, 4, 2, 1];
/// Registers that are written in one work.
const WRITTEN: usize = 64;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What can be read and has shown something.
    pub readable: Readable,
    /// Registers that keep what is written to them, with the value of a test.
    pub keeping: Vec<(Register, u64)>,
    /// Whether a BAR is memory.
    pub has_memory: bool,
    /// The types of interrupt, with the number of their vectors.
    pub interrupts: Vec<(u32, u32)>,
}

/// Explores a device, which is reset before and after.
pub fn explore(rig: &Rig, exercise: &Exercise) -> Result<Found> {
    rig.reset()?;
    let places = places(rig);
    let mut shown = BTreeSet::new();
    let mut look = |rig: &Rig| -> Result<()> {
        for register in &places {
            if !shown.contains(register) {
                let value = rig.read(register).unwrap_or(0);
                if value != 0 && value != register.ones() {
                    shown.insert(*register);
                }
            }
        }
        Ok(())
    };
    look(rig)?;
    let mut keeping = Vec::new();
    let mut sensitive = BTreeSet::new();
    for register in &places {
        rig.settle(exercise)?;
        let old = rig.read(register).unwrap_or(0);
        if let Some(value) = keeps(rig, register, old)? {
            match rig.read(register).ok() == Some(value) {
                true => keeping.push((*register, value)),
                // The first read has taken it away.
                false => drop(sensitive.insert(*register)),
            }
        }
        // As it was, for the next one; a register that cannot be written fails again.
        rig.write(register, old).ok();
    }
    look(rig)?;
    rig.reset()?;
    // Some of them were kept only because of what was written to another one.
    for _ in 0..2 {
        for (register, value) in &keeping {
            rig.settle(exercise)?;
            rig.write(register, *value)?;
        }
        // One that starts something falls back when that is over.
        rig.settle(exercise)?;
        wait(rig, LOOKS)?;
        let holds = |(register, value): &(Register, u64)| rig.read(register).ok() == Some(*value);
        keeping.retain(holds);
    }
    look(rig)?;
    for register in &shown {
        if rig.read(register).ok() != rig.read(register).ok() {
            sensitive.insert(*register);
        }
    }
    for step in exercise.works.iter().flat_map(|work| &work.steps) {
        if let Step::Write(register, _) = step {
            shown.insert(*register);
        }
    }
    rig.reset()?;
    Ok(Found {
        readable: Readable {
            registers: shown.into_iter().collect(),
            sensitive,
            ..Readable::default()
        },
        keeping,
        has_memory: !rig.areas.is_empty(),
        interrupts: rig
            .interrupts()
            .into_iter()
            .map(|(_, index)| (index, rig.vectors(index)))
            .collect(),
    })
}

/// Returns all registers that there may be in the BARs, which are what is no memory.
fn places(rig: &Rig) -> Vec<Register> {
    let mut places = Vec::new();
    for bar in &rig.bars {
        let walked = bar.size.min(WALKED);
        for width in WIDTHS {
            let offsets = (0..walked).step_by(width);
            let sampled = (walked..bar.size).step_by(SAMPLED as usize);
            let all = offsets.chain(sampled);
            let apart = all.filter(|offset| rig.area(bar.index, *offset, 1).is_none());
            places.extend(apart.map(|offset| Register {
                bar: bar.index,
                offset,
                width,
            }));
        }
    }
    places
}

/// Returns a value that the register keeps instead of `old`, if there is one.
fn keeps(rig: &Rig, register: &Register, old: u64) -> Result<Option<u64>> {
    let keeps = |value: u64| {
        let is_written = rig.write(register, value).is_ok();
        is_written && rig.read(register).ok() == Some(value)
    };
    // Each byte of them differs from each other one. Small values are for fields of few bits.
    let values = [0xa5b6_c7d8_e9fa_0b1c, 0x5a49_3827_1605_f4e3, 0x3, 0x1];
    let values = values.map(|value| value & register.ones());
    // One more, since a register that computes may answer one value with itself.
    let is_kept = |value: &u64| *value != old && [0, 5].into_iter().any(keeps) && keeps(*value);
    Ok(values.into_iter().find(is_kept))
}

impl Found {
    /// Returns the work that the suite does by itself: it writes everything that keeps a value, and
    /// fills memory.
    pub fn work(&self, rig: &Rig) -> Work {
        let mut steps: Vec<Step> = Vec::new();
        for area in &rig.areas {
            let size = area.size().min(4096);
            let last = area.size() - size;
            for at in BTreeSet::from([0, last / 8192 * 4096, last]) {
                let place = Place::Bar(area.bar, area.start + at);
                steps.push(Step::Fill(place, size as usize, Fill::Count));
            }
        }
        let written = self.written();
        steps.extend(written.map(|(register, value)| Step::Write(*register, *value)));
        Work {
            name: "what the registers keep".into(),
            steps,
            settles: true,
        }
    }

    /// Returns the registers that this work writes, each with the value.
    pub fn written(&self) -> impl Iterator<Item = &(Register, u64)> {
        // Without those that are a part of another one.
        let is_apart = |(one, _): &&(Register, u64)| {
            let end = one.offset + one.width as u64;
            !self.keeping.iter().any(|(other, _)| {
                other.bar == one.bar
                    && other.width > one.width
                    && other.offset <= one.offset
                    && end <= other.offset + other.width as u64
            })
        };
        self.keeping.iter().filter(is_apart).take(WRITTEN)
    }
}
