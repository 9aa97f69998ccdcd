// SPDX-License-Identifier: GPL-2.0
//! What a guest can read of a device and of its own memory, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;
use mig_common::exercise::place::{Place, Register};
use mig_common::exercise::step::Step;
use mig_common::exercise::Work;

use super::rig::Rig;

/// Bytes that are compared, and named in a report, as one.
const PAGE: usize = 4096;

/// The parts of what a guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Registers and configuration space.
    Registers,
    /// BARs that are memory.
    DeviceMemory,
    /// Guest memory.
    GuestMemory,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Registers, Part::DeviceMemory, Part::GuestMemory];
    /// Those that a read does not change.
    pub const MEMORY: [Part; 2] = [Part::DeviceMemory, Part::GuestMemory];
}

/// What has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Four bytes of configuration space, at this offset.
    Config(usize),
    /// A register.
    Register(Register),
    /// The page that begins there.
    Page(Place),
}

/// The values, by part and name; a page of zeros has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot(BTreeMap<(Part, Name), Value>);

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(u64),
    Zeros,
    Page(Box<[u8]>),
}

/// What is read, apart from memory.
#[derive(Debug, Clone, Default)]
pub struct Readable {
    /// Registers that have shown something.
    pub registers: Vec<Register>,
    /// Those of them that a read changes, such as a FIFO.
    pub sensitive: BTreeSet<Register>,
    /// What changes by itself.
    pub volatile: BTreeSet<Name>,
    /// The pages of large BARs that the works touch: BAR, offset, bytes.
    pub touched: Vec<(u32, u64, usize)>,
}

/// How much of large BARs is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    All,
    /// What the works touch.
    Touched,
}

/// A BAR of at most so many bytes is always read as a whole.
const SMALL: u64 = 1 << 20;

impl Snapshot {
    /// Reads everything that the works can change, without changing anything.
    pub fn take(rig: &Rig, readable: &Readable) -> Result<Snapshot> {
        Snapshot::take_parts(rig, readable, &Part::ALL)
    }

    /// The same of some parts.
    pub fn take_parts(rig: &Rig, readable: &Readable, parts: &[Part]) -> Result<Snapshot> {
        Snapshot::of(rig, readable, Depth::Touched, parts)
    }

    /// Reads everything.
    pub fn take_all(rig: &Rig, readable: &Readable) -> Result<Snapshot> {
        Snapshot::of(rig, readable, Depth::All, &Part::ALL)
    }

    fn of(rig: &Rig, readable: &Readable, depth: Depth, parts: &[Part]) -> Result<Snapshot> {
        let mut values = BTreeMap::new();
        let mut add = |part, name: Name, value| {
            if !readable.volatile.contains(&name) {
                values.insert((part, name), value);
            }
        };
        let is_wanted = |part| parts.contains(&part);
        if is_wanted(Part::Registers) {
            for (at, word) in (0..).step_by(4).zip(rig.config_space()?.chunks_exact(4)) {
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                add(
                    Part::Registers,
                    Name::Config(at),
                    Value::Number(word.into()),
                );
            }
            let is_read = |register: &&Register| {
                depth == Depth::All || !readable.sensitive.contains(register)
            };
            for register in readable.registers.iter().filter(is_read) {
                let value = Value::Number(rig.read(register)?);
                add(Part::Registers, Name::Register(*register), value);
            }
        }
        let areas = rig.areas.iter();
        for area in areas.filter(|_| is_wanted(Part::DeviceMemory)) {
            let mut read = |start: u64, len: usize| {
                let place = |at| Place::Bar(area.bar, start + at);
                pages(rig, len, place, &mut |name, value| {
                    add(Part::DeviceMemory, name, value);
                })
            };
            if depth == Depth::All || area.size() <= SMALL {
                read(area.start, area.size() as usize)?;
                continue;
            }
            let is_inside = |(bar, start, len): &&(u32, u64, usize)| {
                rig.area(*bar, *start, *len as u64)
                    .is_some_and(|(other, _)| std::ptr::eq(other, area))
            };
            for (_, start, len) in readable.touched.iter().filter(is_inside) {
                read(*start, *len)?;
            }
        }
        let guest = rig.guest.iter().enumerate();
        for (index, (_, memory)) in guest.filter(|_| is_wanted(Part::GuestMemory)) {
            let place = |at| Place::Memory(index, at);
            pages(rig, memory.len(), place, &mut |name, value| {
                add(Part::GuestMemory, name, value);
            })?;
        }
        Ok(Snapshot(values))
    }

    /// Returns the first difference in a part: what it is in `other`, and what it is here.
    pub fn differs(&self, other: &Snapshot, part: Part) -> Option<String> {
        let keys = self.0.keys().chain(other.0.keys());
        let first = keys
            .filter(|key| key.0 == part && self.get(key) != other.get(key))
            .min()?;
        let (name, here, there) = (&first.1, self.get(first), other.get(first));
        Some(match (here, there) {
            (Value::Number(here), Value::Number(there)) => {
                format!("{name} is {there:#x} instead of {here:#x}")
            }
            _ => {
                let byte = |value: &Value, at| value.bytes().get(at).copied().unwrap_or_default();
                let at = (0..PAGE).find(|at| byte(here, *at) != byte(there, *at));
                let at = at.unwrap_or_default();
                let (here, there) = (byte(here, at), byte(there, at));
                format!("byte {at:#x} of {name} is {there:#04x} instead of {here:#04x}")
            }
        })
    }

    fn get(&self, key: &(Part, Name)) -> &Value {
        self.0.get(key).unwrap_or(&Value::Zeros)
    }

    /// Returns the first difference in any of `parts`.
    pub fn differs_in(&self, other: &Snapshot, parts: &[Part]) -> Option<String> {
        parts.iter().find_map(|part| self.differs(other, *part))
    }

    /// Leaves out what has one of the names.
    pub fn forget(&mut self, names: &BTreeSet<Name>) {
        self.0.retain(|(_, name), _| !names.contains(name));
    }

    /// Returns the names of everything that differs.
    pub fn all_differing(&self, other: &Snapshot) -> BTreeSet<Name> {
        let keys = self.0.keys().chain(other.0.keys());
        let differing = keys.filter(|key| self.get(key) != other.get(key));
        differing.map(|(_, name)| *name).collect()
    }
}

/// Adds the pages of a memory of `len` bytes that are not all zeros.
fn pages(
    rig: &Rig,
    len: usize,
    place: impl Fn(u64) -> Place,
    add: &mut dyn FnMut(Name, Value),
) -> Result<()> {
    for begin in (0..len).step_by(PAGE) {
        let place = place(begin as u64);
        let some = PAGE.min(len - begin);
        if some == PAGE && rig.is_zero(place, PAGE)? {
            continue;
        }
        let mut page = [0; PAGE];
        rig.read_bytes(place, &mut page[..some])?;
        if page != [0; PAGE] {
            add(Name::Page(place), Value::Page(page[..some].into()));
        }
    }
    Ok(())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Config(offset) => write!(f, "configuration space {offset:#04x}"),
            Name::Register(register) => register.fmt(f),
            Name::Page(place) => write!(f, "the page at {place}"),
        }
    }
}

impl Value {
    /// Returns the bytes of a page; without those that are left out, which are zero.
    fn bytes(&self) -> &[u8] {
        match self {
            Value::Page(bytes) => bytes,
            Value::Number(_) | Value::Zeros => &[],
        }
    }
}

/// Returns where two runs of bytes begin to differ.
pub fn first_difference(one: &[u8], other: &[u8]) -> usize {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    at.unwrap_or(one.len().min(other.len()))
}

/// Returns the pages of BARs that a work touches: BAR, offset, bytes.
pub fn touched(work: &Work) -> Vec<(u32, u64, usize)> {
    let pages = |place: &Place, len: usize| match place {
        Place::Memory(..) => None,
        Place::Bar(bar, offset) => {
            let start = offset / PAGE as u64 * PAGE as u64;
            let end = (offset + len as u64).next_multiple_of(PAGE as u64);
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
