// SPDX-License-Identifier: GPL-2.0
//! The steps of a work, and what they are called.

use std::fmt;

use super::place::{Place, Register};
use super::Fill;

/// One step of a guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Writes a register.
    Write(Register, u64),
    /// Reads a register, which must have a value.
    Read(Condition),
    /// Reads a register until it has a value.
    Wait(Condition),
    /// Waits for an interrupt of a vector; with a condition, for one whose cause it is.
    Interrupt(usize, Option<Condition>),
    /// Fills a range of a BAR or of guest memory.
    Fill(Place, usize, Fill),
    /// Writes words of four bytes to a BAR or to guest memory.
    Words(Place, Vec<u32>),
    /// Two ranges must be equal.
    Equal(Place, Place, usize),
}

impl Step {
    /// Returns whether it waits for what the device does by itself.
    pub fn waits(&self) -> bool {
        matches!(self, Step::Wait(_) | Step::Interrupt(..))
    }
}

/// A register with a value under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// The register.
    pub register: Register,
    /// The bits that are compared.
    pub mask: u64,
    /// Their value.
    pub value: u64,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask == self.register.ones() {
            true => write!(f, "{} to be {:#x}", self.register, self.value),
            false => write!(
                f,
                "{} & {:#x} to be {:#x}",
                self.register, self.mask, self.value
            ),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write(register, value) => write!(f, "write {value:#x} to {register}"),
            Step::Read(wanted) => write!(f, "read {wanted}"),
            Step::Wait(wanted) => write!(f, "wait for {wanted}"),
            Step::Interrupt(vector, cause) => {
                write!(f, "wait for an interrupt")?;
                if *vector != 0 {
                    write!(f, " of vector {vector}")?;
                }
                match cause {
                    None => Ok(()),
                    Some(cause) => write!(f, " and {cause}"),
                }
            }
            Step::Fill(at, size, _) => write!(f, "fill {size} bytes at {at}"),
            Step::Words(at, words) => write!(f, "write {} words to {at}", words.len()),
            Step::Equal(left, right, size) => {
                write!(f, "{size} bytes at {left} and {right} to be equal")
            }
        }
    }
}
