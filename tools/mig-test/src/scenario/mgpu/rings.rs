// SPDX-License-Identifier: GPL-2.0
//! All rings of a GPU at work, each on memory of its own and with its own vector, while the device
//! migrates at random moments.
//!
//! This program takes the place of QEMU and of the guest: a handler for each vector acknowledges
//! its ring's interrupt, and finds the fence that it was sent for. In every other migration one
//! ring has nothing to do; its vector must stay silent.

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::{interrupt, reg, COMMAND_LEN, RINGS};
use mig_common::random::Random;
use serde::Serialize;
use vfio_bindings::bindings::vfio::{VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX};

use super::card::{contents, iova, Card, Command, DATA, FENCE, GUEST, IOVA, RING, VRAM};
use super::model::{random_command, Area, Shadow};
use super::moments::{read_some, send};
use super::random::seed;
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::account::Account;
use crate::vfio::dma::PAGE;
use crate::vfio::irq::Event;
use crate::vfio::migration::State;

/// Migrations unless the option `moves` says otherwise.
const MOVES: u64 = 24;
/// The number of migrations between two progress reports.
const TOLD: u64 = 8;
/// The maximum of looks at a running device.
const LOOKS: usize = 12;
/// Where guest memory has the data of all rings, behind the commands of rings 1 to 3.
const AREAS: usize = DATA + (RINGS - 1) * PAGE;
/// Bytes of it for each ring, and of VRAM.
const AREA: (usize, usize) = ((GUEST - AREAS) / RINGS / PAGE * PAGE, VRAM / RINGS);

/// The figures.
#[derive(Default, Serialize)]
struct Report {
    seed: u64,
    moves: u64,
    commands: u64,
    commands_carried: u64,
    /// Migrations that met so many rings at work, from none to all.
    by_rings_at_work: [u64; RINGS + 1],
    /// Signals, by vector.
    signals: [u64; RINGS],
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let mut report = Report {
        seed: seed(ctx)?,
        moves: ctx.number("moves", MOVES)?,
        ..Report::default()
    };
    let mut random = Random::new(report.seed);
    let mut journey = Journey::begin()?;
    ctx.step("one ring after the other");
    journey.one_by_one(&mut checks)?;
    for number in 0..report.moves {
        if number % TOLD == 0 {
            ctx.step(format!("migration {} of {}", number + 1, report.moves));
        }
        journey = journey
            .step(&mut random, number, &mut checks, &mut report)
            .with_context(|| format!("migration {number}"))?;
    }
    let at_once: u64 = report.by_rings_at_work[2..].iter().sum();
    // A run of a few migrations may well meet none.
    checks.that(
        "no migration has met two rings at work",
        report.moves < TOLD || at_once > 0,
    );
    ctx.step(format!("{} checks made", checks.made()));
    ctx.report(report)?;
    Ok(checks.outcome())
}

/// A card with all rings started, and an eventfd for the vector of each.
struct Rings {
    card: Card,
    events: Vec<Event>,
}

impl Rings {
    /// A new card whose vectors are set up, as QEMU does before it runs a device.
    fn new() -> Result<Rings> {
        let card = Card::new()?;
        let events: Vec<_> = (0..RINGS).map(|_| Event::new()).collect::<Result<_, _>>()?;
        let numbers: Vec<i32> = events.iter().map(Event::number).collect();
        let (index, action) = (VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER);
        card.device.connect_all(index, action, &numbers)?;
        Ok(Rings { card, events })
    }

    fn get(&self, ring: usize, register: u64) -> Result<u32> {
        self.card.get(reg::of_ring(ring, register))
    }

    fn set(&self, ring: usize, register: u64, value: u32) -> Result<()> {
        self.card.set(reg::of_ring(ring, register), value)
    }

    fn start(&self) -> Result<()> {
        self.card.device.enable_bus_master()?;
        for ring in 0..RINGS {
            let base = iova(slot(ring, 0));
            self.set(ring, reg::RING_BASE_LO, base as u32)?;
            self.set(ring, reg::RING_BASE_HI, (base >> 32) as u32)?;
            self.set(ring, reg::RING_SIZE, RING)?;
            self.set(ring, reg::INTERRUPT_ENABLE, interrupt::ALL)?;
            self.set(ring, reg::CONTROL, 1)?;
        }
        Ok(())
    }

    /// Puts commands behind those in a ring, which has room for them, and rings its doorbell.
    fn submit(&self, ring: usize, commands: &[Command]) -> Result<()> {
        let mut tail = self.get(ring, reg::RING_TAIL)?;
        for command in commands {
            let at = slot(ring, tail);
            self.card.guest.write(at, &command.encode());
            tail = (tail + 1) % RING;
        }
        self.set(ring, reg::RING_TAIL, tail)
    }

    /// Number of commands that a ring has yet to execute.
    fn left(&self, ring: usize) -> Result<u32> {
        let (head, tail) = (
            self.get(ring, reg::RING_HEAD)?,
            self.get(ring, reg::RING_TAIL)?,
        );
        Ok(tail.wrapping_sub(head) % RING)
    }

    /// FENCE of a ring, as two registers.
    fn fence(&self, ring: usize) -> Result<u64> {
        let high = u64::from(self.get(ring, reg::FENCE_HI)?);
        Ok(high << 32 | u64::from(self.get(ring, reg::FENCE_LO)?))
    }

    fn acknowledge(&self, ring: usize) -> Result<()> {
        self.set(ring, reg::INTERRUPT, self.get(ring, reg::INTERRUPT)?)
    }

    /// Does what a driver does until a ring's fence has this value: acknowledges, looks, and waits
    /// for the next message of the ring's vector. Returns the number of messages.
    fn await_fence(&self, ring: usize, value: u64) -> Result<u64> {
        let mut signals = 0;
        loop {
            self.acknowledge(ring)?;
            if self.fence(ring)? == value {
                // It may be later than the acknowledgement.
                self.acknowledge(ring)?;
                return Ok(signals + self.events[ring].take()?);
            }
            let more = self.events[ring].await_signal()?;
            ensure!(more > 0, "no message says that ring {ring} is done");
            signals += more;
        }
    }
}

/// A device that migrates, and the expected contents of its memory.
struct Journey {
    rings: Rings,
    shadow: Shadow,
}

impl Journey {
    fn begin() -> Result<Journey> {
        let rings = Rings::new()?;
        rings.start()?;
        let shadow = Shadow {
            guest: contents(&rings.card.guest),
            vram: contents(&rings.card.vram),
        };
        Ok(Journey { rings, shadow })
    }

    /// Requires that what a ring does and fails to do is told by its own registers and vector.
    fn one_by_one(&mut self, checks: &mut Checks) -> Result<()> {
        let rings = &self.rings;
        checks.equal("RINGS", rings.card.get(reg::RINGS)?, RINGS as u32);
        for ring in 0..RINGS {
            let unknown = Command {
                opcode: u32::MAX,
                ..Command::default()
            };
            let value = 100 + ring as u64;
            rings.submit(ring, &[unknown])?;
            let what = format!("messages of the error of ring {ring}");
            checks.equal(what, rings.events[ring].await_signal()?, 1);
            rings.set(ring, reg::ERROR, 0)?;
            rings.set(ring, reg::INTERRUPT, interrupt::ALL)?;
            rings.submit(ring, &[Command::fence(iova(fence_at(ring)), value)])?;
            let what = format!("messages of the fence of ring {ring}");
            checks.equal(what, rings.events[ring].await_signal()?, 1);
            rings.set(ring, reg::INTERRUPT, interrupt::ALL)?;
            for other in 0..RINGS {
                let (fence, tail) = match other <= ring {
                    true => (100 + other as u64, 2),
                    false => (0, 0),
                };
                let found = (
                    rings.fence(other)?,
                    rings.get(other, reg::RING_HEAD)?,
                    rings.get(other, reg::ERROR)?,
                    rings.events[other].take()?,
                );
                let what = format!("FENCE, HEAD, ERROR and messages of {other} after ring {ring}");
                checks.equal(what, found, (fence, tail, 0, 0));
            }
        }
        // The fences have failures to report, unlike those of the shadow.
        rings.card.guest.read(0, &mut self.shadow.guest);
        Ok(())
    }

    /// Gives the rings work and migrates; the device continues at the destination.
    fn step(
        mut self,
        random: &mut Random,
        number: u64,
        checks: &mut Checks,
        report: &mut Report,
    ) -> Result<Journey> {
        let destination = Rings::new()?;
        let (source, to) = (&self.rings, &destination.card);
        let card = &source.card;
        let account = match card.device.has_log() && number % 2 == 1 {
            true => Account::Log,
            false => Account::Container,
        };
        account.start(&card.device, IOVA, GUEST)?;
        to.guest.write(0, &contents(&card.guest));

        let silent = random.below(RINGS);
        let silent = (number % 2 == 0).then_some(silent);
        let at_work: Vec<_> = (0..RINGS).filter(|&ring| Some(ring) != silent).collect();
        let fence = |ring: usize| (1 + number) << 32 | ring as u64;
        for &ring in &at_work {
            let count = 1 + random.below(RING as usize - 2);
            let area = area(ring);
            let random_ones = (0..count).map(|_| random_command(random, &area));
            let mut commands: Vec<_> = random_ones.collect();
            commands.push(Command::fence(iova(fence_at(ring)), fence(ring)));
            commands
                .iter()
                .for_each(|command| self.shadow.execute(command));
            source.submit(ring, &commands)?;
            report.commands += commands.len() as u64;
        }
        let mut stream = Vec::new();
        let file = match random.below(4) {
            // Straight to the end.
            0 => None,
            _ => card.device.set_state(State::PreCopy)?,
        };
        for _ in 0..random.below(LOOKS) {
            match random.below(3) {
                // A handler that is in time.
                0 => {
                    let ring = at_work[random.below(at_work.len())];
                    report.signals[ring] += source.events[ring].take()?;
                    source.acknowledge(ring)?;
                }
                1 => send(card, to, &account.take(&card.device, IOVA, GUEST)?),
                _ => read_some(file.as_ref(), &mut stream, random)?,
            }
        }

        let stopped = card.device.set_state(State::StopCopy)?;
        let left: Vec<u32> = (0..RINGS)
            .map(|ring| source.left(ring))
            .collect::<Result<_>>()?;
        let told: Vec<u32> = (0..RINGS)
            .map(|ring| source.get(ring, reg::INTERRUPT))
            .collect::<Result<_>>()?;
        send(card, to, &account.take(&card.device, IOVA, GUEST)?);
        // What the CPU writes is QEMU's own account.
        for ring in 0..RINGS {
            let mut commands = [0; PAGE];
            card.guest.read(slot(ring, 0), &mut commands);
            to.guest.write(slot(ring, 0), &commands);
        }
        let file = file.or(stopped).context("there is no data file")?;
        let (rest, is_end) = file.read_to_end(4096 + random.below(1 << 20))?;
        ensure!(is_end, "the stream has no end");
        stream.extend(rest);
        if let Some(silent) = silent {
            let what = format!("messages of idle ring {silent} before migration {number}");
            checks.equal(what, source.events[silent].take()?, 0);
        }

        let file = to.device.set_state(State::Resuming)?;
        let file = file.context("RESUMING came without a file")?;
        file.write_split(&stream, &[4095, 100_000])?;
        drop(file);
        to.device.set_state(State::Running)?;
        for ring in (0..RINGS).filter(|&ring| told[ring] != 0) {
            // Whether the message has reached the guest is not known, so it is sent again.
            let signals = destination.events[ring].await_signal()?;
            ensure!(signals > 0, "the level of ring {ring} is lost");
            report.signals[ring] += signals;
        }
        for ring in at_work {
            let signals = destination.await_fence(ring, fence(ring));
            let signals = signals.with_context(|| format!("{} commands left", left[ring]))?;
            report.signals[ring] += signals;
        }
        for ring in 0..RINGS {
            let found = (
                destination.left(ring)?,
                destination.get(ring, reg::ERROR)?,
                destination.get(ring, reg::INTERRUPT)?,
                destination.events[ring].take()?,
            );
            let what = format!("left, ERROR, INTERRUPT, messages of {ring} after move {number}");
            checks.equal(what, found, (0, 0, 0, 0));
        }
        self.compare(to, number, checks);

        let busy = left.iter().filter(|&&left| left > 0).count();
        report.by_rings_at_work[busy] += 1;
        report.commands_carried += u64::from(left.iter().sum::<u32>());
        Ok(Journey {
            rings: destination,
            shadow: self.shadow,
        })
    }

    /// Requires that memory at the destination is that of the model.
    fn compare(&self, to: &Card, number: u64, checks: &mut Checks) {
        let (guest, vram) = (contents(&to.guest), contents(&to.vram));
        for (name, found, wanted) in [
            (
                "fences",
                &guest[FENCE..DATA],
                &self.shadow.guest[FENCE..DATA],
            ),
            ("guest memory", &guest[AREAS..], &self.shadow.guest[AREAS..]),
            ("VRAM", &vram[..], &self.shadow.vram[..]),
        ] {
            let pages = found.chunks(PAGE).zip(wanted.chunks(PAGE));
            let differ = pages.filter(|(found, wanted)| found != wanted).count();
            let what = format!("pages of {name} that differ after migration {number}");
            checks.equal(what, differ, 0);
        }
    }
}

/// Where guest memory has a command of a ring: ring 0 as [`Card::start`] has it, the others behind
/// the fences.
fn slot(ring: usize, index: u32) -> usize {
    let first = match ring {
        0 => 0,
        _ => DATA + (ring - 1) * PAGE,
    };
    first + index as usize * COMMAND_LEN
}

/// Where guest memory has the last fence of a ring.
fn fence_at(ring: usize) -> usize {
    FENCE + 16 * ring
}

/// The memory of a ring's commands.
fn area(ring: usize) -> Area {
    let of = |first: usize, len: usize| first + ring * len..first + (ring + 1) * len;
    Area {
        guest: of(AREAS, AREA.0),
        vram: of(0, AREA.1),
    }
}
