// SPDX-License-Identifier: GPL-2.0
//! Exercises: an author's description of how a device works, in TOML. Documentation/conformance.md
//! describes the file.

use anyhow::{bail, ensure, Context, Result};
use serde::{Deserialize, Deserializer};

pub mod place;
pub mod step;
#[cfg(test)]
mod tests;

use place::{Place, Register};
use step::{Condition, Step};

/// The largest memory of an exercise, in bytes.
const MEMORY_MAX: usize = 64 << 20;
const PAGE: u64 = 4096;

/// The most vectors that are listened to; more are not needed to tell them apart.
pub const VECTORS: u32 = 64;
/// The types of interrupt.
pub const INTERRUPTS: [&str; 3] = ["intx", "msi", "msix"];

/// A description of a device's work.
#[derive(Debug, Default)]
pub struct Exercise {
    /// Guest memory.
    pub memory: Vec<GuestMemory>,
    /// What is done with the device; each begins after a reset.
    pub works: Vec<Work>,
    /// Registers with values that no guest can bring about.
    pub legal: Vec<Legal>,
    /// The conditions under all of which the device has no work in progress; none if that is not
    /// known.
    pub rest: Vec<Condition>,
    /// The types of interrupt with which the works are run; empty for all that the device has.
    pub interrupts: Vec<String>,
}

/// A range of guest memory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestMemory {
    /// Its name in places, like `buffer:0x10`.
    pub name: String,
    /// The IOVA, a multiple of 4096.
    pub iova: Number,
    /// The length in bytes, a multiple of 4096.
    pub size: Number,
    /// What it contains at the start.
    #[serde(default)]
    pub fill: Fill,
}

/// What is written to a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Zeros.
    #[default]
    Zero,
    /// Words of four bytes that count from 1.
    Count,
    /// Bytes 0xff.
    Ones,
}

impl Fill {
    /// Returns `len` bytes of it.
    pub fn bytes(self, len: usize) -> Vec<u8> {
        match self {
            Fill::Zero => vec![0; len],
            Fill::Ones => vec![0xff; len],
            Fill::Count => {
                let mut bytes = vec![0; len];
                for (word, number) in bytes.chunks_mut(4).zip(1u32..) {
                    word.copy_from_slice(&number.to_le_bytes()[..word.len()]);
                }
                bytes
            }
        }
    }
}

/// A sequence of steps.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its name in reports.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether a write waits for the device to be at rest, because it may be ignored before.
    pub settles: bool,
}

/// The values that a register can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legal {
    /// The register.
    pub register: Register,
    /// The bits that can be 1.
    pub bits: u64,
    /// All values are below this, if it is given.
    pub below: Option<u64>,
}

/// A number, which TOML limits to 63 bits; a longer one is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a number, or a string like \"0xffffffffffffffff\""
        )]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Number(number)),
            Either::Text(text) => place::number(&text)
                .map(Number)
                .ok_or_else(|| serde::de::Error::custom(format!("{text} is not a number"))),
        }
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    memory: Vec<GuestMemory>,
    #[serde(default)]
    interrupts: Vec<String>,
    rest: Option<Lines>,
    #[serde(default)]
    register: Vec<LegalLine>,
    #[serde(default)]
    work: Vec<WorkLines>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkLines {
    name: String,
    steps: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LegalLine {
    at: String,
    width: usize,
    bits: Option<Number>,
    below: Option<Number>,
}

/// One condition or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a condition, or a list of conditions")]
enum Lines {
    One(Box<Line>),
    Several(Vec<Line>),
}

/// A step. One of its first seven members says what it does.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Line {
    write: Option<Number>,
    read: Option<Number>,
    wait: Option<Number>,
    interrupt: Option<Number>,
    vector: Option<usize>,
    fill: Option<Fill>,
    words: Option<Vec<u32>>,
    equal: Option<[String; 2]>,
    at: Option<String>,
    width: Option<usize>,
    mask: Option<Number>,
    size: Option<Number>,
}

impl Exercise {
    /// Parses the text of a file.
    pub fn parse(text: &str) -> Result<Exercise> {
        let file: File = toml::from_str(text)?;
        ensure!(
            !file.work.is_empty(),
            "there is no [[work]]: say what the device does"
        );
        for (index, memory) in file.memory.iter().enumerate() {
            memory
                .check(&file.memory[..index])
                .with_context(|| format!("the memory \"{}\"", memory.name))?;
        }
        let mut works = Vec::new();
        for work in file.work {
            ensure!(
                !work.steps.is_empty(),
                "the work \"{}\" has no steps",
                work.name
            );
            let mut steps = Vec::new();
            for (index, line) in work.steps.iter().enumerate() {
                let place = || format!("step {} of the work \"{}\"", index + 1, work.name);
                steps.push(line.step(&file.memory).with_context(place)?);
            }
            works.push(Work {
                name: work.name,
                steps,
                settles: false,
            });
        }
        for name in &file.interrupts {
            ensure!(
                INTERRUPTS.contains(&name.as_str()),
                "there is no type of interrupt \"{name}\"; say intx, msi or msix"
            );
        }
        let legal = file.register.iter().map(|line| {
            Ok(Legal {
                register: Register::parse(&line.at, line.width)?,
                bits: line.bits.map_or(u64::MAX, |bits| bits.0),
                below: line.below.map(|below| below.0),
            })
        });
        let rest = match file.rest {
            None => Vec::new(),
            Some(Lines::One(line)) => vec![*line],
            Some(Lines::Several(lines)) => lines,
        };
        let rest = rest.iter().map(|line| line.condition(line.wait));
        Ok(Exercise {
            legal: legal.collect::<Result<_>>().context("a [[register]]")?,
            rest: rest.collect::<Result<_>>().context("rest")?,
            memory: file.memory,
            interrupts: file.interrupts,
            works,
        })
    }
}

impl GuestMemory {
    fn check(&self, others: &[GuestMemory]) -> Result<()> {
        let (iova, size) = (self.iova.0, self.size.0);
        ensure!(
            size > 0 && size <= MEMORY_MAX as u64,
            "size is from 4096 to {MEMORY_MAX} bytes"
        );
        ensure!(
            iova % PAGE == 0 && size % PAGE == 0,
            "iova and size are multiples of 4096"
        );
        let last = iova.checked_add(size - 1);
        let last = last.context("it goes beyond the last address of 64 bits")?;
        for other in others {
            ensure!(
                last < other.iova.0 || other.last() < iova,
                "it overlaps the memory \"{}\"",
                other.name
            );
            ensure!(other.name != self.name, "there is another of this name");
        }
        Ok(())
    }

    /// Returns the address of the last byte of one that was checked.
    fn last(&self) -> u64 {
        self.iova.0 + (self.size.0 - 1)
    }
}

impl Line {
    fn step(&self, memory: &[GuestMemory]) -> Result<Step> {
        let kinds = [
            self.write.is_some(),
            self.read.is_some(),
            self.wait.is_some(),
            self.interrupt.is_some(),
            self.fill.is_some(),
            self.words.is_some(),
            self.equal.is_some(),
        ];
        let kinds = kinds.iter().filter(|is| **is).count();
        ensure!(
            kinds == 1,
            "a step has exactly one of write, read, wait, interrupt, fill, words, equal, and not {kinds}"
        );
        ensure!(
            self.vector.is_none() || self.interrupt.is_some(),
            "vector belongs to a step that waits for an interrupt"
        );
        ensure!(
            self.vector.is_none_or(|vector| vector < VECTORS as usize),
            "vector is less than {VECTORS}"
        );
        let place = |text: &str, len: usize| {
            let place = Place::parse(text, memory.iter().map(|one| one.name.as_str()))?;
            let (offset, size) = match place {
                Place::Bar(_, offset) => (offset, u64::MAX),
                Place::Memory(index, offset) => (offset, memory[index].size.0),
            };
            let end = offset.checked_add(len as u64);
            ensure!(
                end.is_some_and(|end| end <= size),
                "{len} bytes at {text} are more than there are"
            );
            Ok(place)
        };
        Ok(if let Some(value) = self.write {
            Step::Write(self.register()?, value.0)
        } else if self.read.is_some() {
            Step::Read(self.condition(self.read)?)
        } else if self.wait.is_some() {
            Step::Wait(self.condition(self.wait)?)
        } else if self.interrupt.is_some() {
            let cause = self
                .at
                .is_some()
                .then(|| self.condition(self.interrupt))
                .transpose()?;
            Step::Interrupt(self.vector.unwrap_or(0), cause)
        } else if let Some(fill) = self.fill {
            let at = self
                .at
                .as_deref()
                .context("fill needs at = \"BAR:OFFSET\" or a memory")?;
            let size = self.size()?;
            Step::Fill(place(at, size)?, size, fill)
        } else if let Some(words) = &self.words {
            let at = self
                .at
                .as_deref()
                .context("words needs at = \"BAR:OFFSET\" or a memory")?;
            Step::Words(place(at, 4 * words.len())?, words.clone())
        } else if let Some([left, right]) = &self.equal {
            let size = self.size()?;
            Step::Equal(place(left, size)?, place(right, size)?, size)
        } else {
            bail!("a step without an action")
        })
    }

    fn register(&self) -> Result<Register> {
        let at = self
            .at
            .as_deref()
            .context("at = \"BAR:OFFSET\" is missing")?;
        Register::parse(at, self.width.context("width = 1, 2, 4 or 8 is missing")?)
    }

    fn condition(&self, value: Option<Number>) -> Result<Condition> {
        let (value, register) = (value.context("a value is missing")?.0, self.register()?);
        let mask = self.mask.map_or(u64::MAX, |mask| mask.0) & register.ones();
        ensure!(
            value & !mask == 0,
            "the value {value:#x} has bits outside of the mask {mask:#x}: it would never be read"
        );
        Ok(Condition {
            register,
            mask,
            value,
        })
    }

    fn size(&self) -> Result<usize> {
        let size = self.size.context("size = BYTES is missing")?.0 as usize;
        ensure!(
            (1..=MEMORY_MAX).contains(&size),
            "size is from 1 to {MEMORY_MAX} bytes"
        );
        Ok(size)
    }
}
