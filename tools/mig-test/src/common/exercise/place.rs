// SPDX-License-Identifier: GPL-2.0
//! Places of a device: a register in a BAR, or a byte of a BAR or of guest memory.

use std::fmt;

use anyhow::{ensure, Context, Result};

/// The number of BARs of a PCI device.
pub const BARS: u32 = 6;

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register {
    /// The BAR.
    pub bar: u32,
    /// The offset in it, a multiple of the width.
    pub offset: u64,
    /// Bytes of an access: 1, 2, 4 or 8.
    pub width: usize,
}

/// A byte of a BAR or of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a BAR.
    Bar(u32, u64),
    /// In a range of guest memory, by its index.
    Memory(usize, u64),
}

/// Parses a decimal or hexadecimal number.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Parses `BAR:OFFSET`.
fn bar_and_offset(text: &str) -> Option<(u32, u64)> {
    let (bar, offset) = text.split_once(':')?;
    let bar = bar.parse().ok().filter(|bar| *bar < BARS)?;
    Some((bar, number(offset)?))
}

impl Register {
    /// Parses `BAR:OFFSET`.
    pub fn parse(text: &str, width: usize) -> Result<Register> {
        let (bar, offset) = bar_and_offset(text)
            .with_context(|| format!("a register is BAR:OFFSET, like 0:0x20, and not {text}"))?;
        ensure!(
            matches!(width, 1 | 2 | 4 | 8),
            "a width is 1, 2, 4 or 8, and not {width}"
        );
        ensure!(
            offset % width as u64 == 0,
            "{text} is not aligned to its width of {width} bytes"
        );
        Ok(Register { bar, offset, width })
    }

    /// Returns the value with all bits set.
    pub fn ones(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.width)
    }
}

impl Place {
    /// Parses `BAR:OFFSET`, or `NAME:OFFSET` or `NAME` with one of the `names` of guest memory.
    pub fn parse<'n>(text: &str, mut names: impl Iterator<Item = &'n str>) -> Result<Place> {
        if let Some((bar, offset)) = bar_and_offset(text) {
            return Ok(Place::Bar(bar, offset));
        }
        let (name, offset) = text.split_once(':').unwrap_or((text, "0"));
        let index = names.position(|known| known == name);
        let place = index.zip(number(offset));
        let place = place.map(|(index, offset)| Place::Memory(index, offset));
        place.with_context(|| {
            format!(
                "a place is BAR:OFFSET, or the name of a [[memory]] and an offset, and not {text}"
            )
        })
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#x} ({} bytes)", self.bar, self.offset, self.width)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Bar(bar, offset) => write!(f, "{bar}:{offset:#x}"),
            Place::Memory(index, offset) => write!(f, "memory {index} + {offset:#x}"),
        }
    }
}
