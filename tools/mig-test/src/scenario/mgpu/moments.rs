// SPDX-License-Identifier: GPL-2.0
//! Random work with a migration at a random moment, repeatedly. This program takes the place of
//! QEMU, so a thousand of them take minutes.
//!
//! A model executes the same commands and determines the expected contents of guest memory and
//! VRAM. Guest memory is copied as by QEMU: all of it once, then the pages reported dirty, and the
//! rest after the device has stopped. So a page that was written and not reported differs.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::reg;
use mig_common::random::Random;
use serde::Serialize;

use super::card::{contents, Card, FENCE, GUEST, IOVA, RING};
use super::model::{random_command, Area, Shadow};
use super::random::seed;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::account::Account;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::{DataFile, State};

/// Workloads unless the option `workloads` says otherwise.
const WORKLOADS: u64 = 60;
/// The number of workloads between two progress reports.
const TOLD: u64 = 20;
/// The maximum of reads of a running device.
const LOOKS: usize = 12;

/// The figures.
#[derive(Default, Serialize)]
struct Report {
    seed: u64,
    workloads: u64,
    workload_ms: u64,
    commands: u64,
    commands_carried: u64,
    migrations_in_mid_work: u64,
    with_dma_log: u64,
    guest_pages_sent_again: usize,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut report = Report {
        seed: seed(ctx)?,
        workloads: ctx.number("workloads", WORKLOADS)?,
        ..Report::default()
    };
    let mut random = Random::new(report.seed);
    let card = Card::started()?;
    let shadow = Shadow {
        guest: contents(&card.guest),
        vram: contents(&card.vram),
    };
    let mut journey = Journey { card, shadow };
    let begin = Instant::now();
    for workload in 0..report.workloads {
        if workload % TOLD == 0 {
            ctx.step(format!("workload {} of {}", workload + 1, report.workloads));
        }
        let of_this = random.next_u64();
        let account = match journey.card.device.has_log() && workload % 2 == 1 {
            true => Account::Log,
            false => Account::Container,
        };
        journey = journey
            .step(&mut Random::new(of_this), account, &mut report)
            .with_context(|| format!("workload {workload}"))?;
    }
    report.workload_ms = begin.elapsed().as_millis() as u64 / report.workloads.max(1);
    // A run of a few workloads may well meet none in mid-work.
    ensure!(
        report.workloads < TOLD || report.migrations_in_mid_work > 0,
        "no migration has met the device at work"
    );
    ctx.report(report)?;
    Ok(Outcome::Passed)
}

/// A device that migrates, and the expected contents of its memory.
struct Journey {
    card: Card,
    shadow: Shadow,
}

impl Journey {
    /// Runs a workload and migrates; the device continues at the destination.
    fn step(
        mut self,
        random: &mut Random,
        account: Account,
        report: &mut Report,
    ) -> Result<Journey> {
        let source = &self.card;
        let destination = Card::new()?;
        account.start(&source.device, IOVA, GUEST)?;
        destination.guest.write(0, &contents(&source.guest));

        let commands: Vec<_> = (0..1 + random.below(RING as usize - 1))
            .map(|_| random_command(random, &Area::WHOLE))
            .collect();
        let first = source.get(reg::RING_TAIL)?;
        source.submit(&commands)?;
        let mut stream = Vec::new();
        let file = match random.below(4) {
            // Straight to the end.
            0 => None,
            _ => source.device.set_state(State::PreCopy)?,
        };
        for _ in 0..random.below(LOOKS) {
            match random.below(3) {
                0 => source.await_progress(first, random.below(commands.len()) as u32)?,
                1 => {
                    let dirty = account.take(&source.device, IOVA, GUEST)?;
                    report.guest_pages_sent_again += dirty.len();
                    send(source, &destination, &dirty);
                }
                _ => read_some(file.as_ref(), &mut stream, random)?,
            }
        }

        let stopped = source.device.set_state(State::StopCopy)?;
        let (head, tail) = (source.get(reg::RING_HEAD)?, source.get(reg::RING_TAIL)?);
        let dirty = account.take(&source.device, IOVA, GUEST)?;
        report.guest_pages_sent_again += dirty.len();
        send(source, &destination, &dirty);
        // What the CPU writes is QEMU's own account.
        let mut ring = vec![0; FENCE];
        source.guest.read(0, &mut ring);
        destination.guest.write(0, &ring);
        let file = file.or(stopped).context("there is no data file")?;
        let (rest, is_end) = file.read_to_end(4096 + random.below(1 << 20))?;
        ensure!(is_end, "the stream has no end");
        stream.extend(rest);

        let file = destination.device.set_state(State::Resuming)?;
        let file = file.context("RESUMING came without a file")?;
        let sizes = [1, 5000, 100_000].map(|least| least + random.below(1 << 20));
        file.write_split(&stream, &sizes)?;
        drop(file);
        destination.device.set_state(State::Running)?;
        destination.await_idle()?;

        let carried = tail.wrapping_sub(head) % RING;
        report.commands += commands.len() as u64;
        report.commands_carried += u64::from(carried);
        report.migrations_in_mid_work += u64::from(carried > 0);
        report.with_dma_log += u64::from(account == Account::Log);
        commands
            .iter()
            .for_each(|command| self.shadow.execute(command));
        self.ensure_arrived(&destination)?;
        Ok(Journey {
            card: destination,
            shadow: self.shadow,
        })
    }

    /// Requires that memory at the destination is that of the model.
    fn ensure_arrived(&self, destination: &Card) -> Result<()> {
        let differing = |found: &[u8], wanted: &[u8]| {
            let pages = found.chunks(PAGE).zip(wanted.chunks(PAGE));
            pages.filter(|(found, wanted)| found != wanted).count()
        };
        let guest = differing(
            &contents(&destination.guest)[FENCE..],
            &self.shadow.guest[FENCE..],
        );
        let vram = differing(&contents(&destination.vram), &self.shadow.vram);
        let error = destination.get(reg::ERROR)?;
        ensure!(
            (guest, vram, error) == (0, 0, 0),
            "{guest} pages of guest memory and {vram} of VRAM are not what they must be; error {error}"
        );
        Ok(())
    }
}

/// Copies pages of guest memory.
pub fn send(source: &Card, destination: &Card, pages: &BTreeSet<usize>) {
    let mut bytes = [0; PAGE];
    for page in pages {
        source.guest.read(page * PAGE, &mut bytes);
        destination.guest.write(page * PAGE, &bytes);
    }
}

/// Reads a piece of data in PRE_COPY, if there is a file with data now.
pub fn read_some(file: Option<&DataFile>, stream: &mut Vec<u8>, random: &mut Random) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut piece = vec![0; random.size(1 << 20)];
    match file.read(&mut piece) {
        Ok(count) => stream.extend(&piece[..count]),
        Err(rustix::io::Errno::NOMSG) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
