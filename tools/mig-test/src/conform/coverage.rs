// SPDX-License-Identifier: GPL-2.0
//! What of a device was exercised, and what was not.

use std::collections::BTreeSet;

use mig_common::exercise::place::Register;
use mig_common::exercise::step::Step;
use mig_common::exercise::{Exercise, Work};

use super::explore::Found;
use super::report::Count;
use super::rig::INTERRUPTS;

/// Returns the bytes of registers that a work writes or reads, among those that show something.
pub fn registers(found: &Found, exercise: &Exercise) -> Count {
    let kept = found.written().map(|(register, _)| *register);
    let used = exercise.works.iter().flat_map(|work| &work.steps);
    let used = used.filter_map(|step| match step {
        Step::Write(register, _) => Some(*register),
        Step::Read(wanted) | Step::Wait(wanted) | Step::Interrupt(_, Some(wanted)) => {
            Some(wanted.register)
        }
        _ => None,
    });
    let all = found.readable.registers.iter().copied();
    Count::of(&bytes(kept.chain(used)), &bytes(all))
}

/// Returns the vectors that a work waits for, among those that the device has.
pub fn interrupts(found: &Found, works: &[(Work, Option<u32>)]) -> Count {
    let kinds = &found.interrupts;
    let vectors = kinds.iter().flat_map(|&(index, count)| {
        (0..count as usize).map(move |vector| vector_name(index, vector, count))
    });
    let waited = works.iter().flat_map(|(work, index)| {
        let kind = kinds.iter().find(|(known, _)| Some(*known) == *index);
        let steps = work.steps.iter();
        steps.filter_map(move |step| match (kind, step) {
            (Some(&(index, count)), Step::Interrupt(vector, _)) => {
                let vector = (*vector).min(count as usize - 1);
                Some(vector_name(index, vector, count))
            }
            _ => None,
        })
    });
    Count::of(&waited.collect(), &vectors.collect())
}

/// Returns the names of the bytes of registers.
fn bytes(registers: impl Iterator<Item = Register>) -> BTreeSet<String> {
    let bytes = |one: Register| {
        let offsets = one.offset..one.offset + one.width as u64;
        offsets.map(move |offset| format!("{}:{offset:#04x}", one.bar))
    };
    registers.flat_map(bytes).collect()
}

/// Returns the name of a vector of a type of interrupt that has so many.
fn vector_name(index: u32, vector: usize, count: u32) -> String {
    let known = INTERRUPTS.iter().find(|(_, known)| *known == index);
    let name = known.map_or("unknown", |(name, _)| name);
    match count {
        1 => name.to_string(),
        _ => format!("{name} {vector}"),
    }
}
