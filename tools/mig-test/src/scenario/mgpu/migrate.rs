// SPDX-License-Identifier: GPL-2.0
//! Migration while the GPU works. Every written page of VRAM contains the number of an epoch, so
//! lost pages and needlessly sent pages are both detected, as in KVM's dirty_log_test.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use mgpu_model::pages::PAGE;
use mgpu_model::uapi::reg;
use mig_common::random::Random;
use rustix::io::Errno;
use rustix::thread::{gettid, Pid};
use serde::Serialize;

use super::card::{contents, iova, Card, Command, DATA, FENCE, RING, VRAM};
use super::model::Shadow;
use super::random;
use super::stream::Reader;
use crate::event::Outcome;
use crate::patience;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::migration::{DataFile, State};

/// Migrations.
const ROUNDS: usize = 3;
/// Passes of PRE_COPY with pages written between them.
const PASSES: usize = 4;
/// The timeout for a thread to sleep, and to be woken.
const PATIENCE: Duration = Duration::from_secs(30);
/// The text in /proc for a thread in poll() or ppoll(), by their system call numbers on x86-64.
const IN_POLL: [&str; 2] = ["7 ", "271 "];
/// The fence behind the work in flight.
const LAST: u64 = 0x1234_5678_9abc;

/// The figures.
#[derive(Default, Serialize)]
struct Report {
    /// Migrations.
    rounds: usize,
    /// Pages that were sent while the device ran.
    pre_copy_pages: usize,
    /// Pages that were sent once it had stopped.
    stop_copy_pages: usize,
    /// Commands that the destination has finished for the source.
    commands_carried: u32,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    let mut report = Report::default();
    for round in 0..ROUNDS {
        ctx.step(format!("migration {round}"));
        let mut source = Source::new()?;
        source
            .migrate(&mut checks, &mut random, &mut report)
            .with_context(|| format!("migration {round}"))?;
    }
    checks.that(
        "no work was in flight in any migration",
        report.commands_carried > 0,
    );
    ctx.step(format!("{} checks made", checks.made()));
    ctx.report(report)?;
    Ok(checks.outcome())
}

/// The source of a migration, and its expected state.
struct Source {
    card: Card,
    epoch: u32,
    /// VRAM according to the stream so far.
    image: Vec<u8>,
    reader: Reader,
}

/// The result of reading the file.
struct Taken {
    pages: Vec<usize>,
    bytes: u64,
    is_end: bool,
}

impl Source {
    fn new() -> Result<Source> {
        Ok(Source {
            card: Card::started()?,
            epoch: 0,
            image: vec![0; VRAM],
            reader: Reader::default(),
        })
    }

    fn migrate(
        &mut self,
        checks: &mut Checks,
        random: &mut Random,
        report: &mut Report,
    ) -> Result<()> {
        report.rounds += 1;
        let mut written = self.write(random, 400)?;
        self.straight(checks, &written)?;

        let file = self.card.device.set_state(State::PreCopy)?;
        let file = file.context("PRE_COPY came without a file")?;
        let before = file.precopy_info(None, 0)?;
        // What is written ahead of the first pass goes with it, and is no initial data. Without,
        // all is.
        let more = [0, 100][report.rounds % 2];
        written.extend(self.write(random, more)?);
        let told = file.precopy_info(None, 0)?;
        checks.that(
            format!("initial data, {before:?}, has become more: {told:?}"),
            told.initial <= before.initial && (told.dirty > 0) == (more > 0),
        );
        let first = self.take(&file, random)?;
        checks.that(
            format!("first pass: {} bytes after {told:?}", first.bytes),
            first.bytes <= told.initial + told.dirty,
        );
        self.sent(checks, "the first pass", &first, &written);
        report.pre_copy_pages += first.pages.len();
        for pass in 0..PASSES {
            // Nothing between two reads is a pass too.
            let count = [0, 1, 60, 300][pass % 4];
            let written = self.write(random, count)?;
            let told = file.precopy_info(None, 0)?;
            checks.equal(format!("initial data in pass {pass}"), told.initial, 0);
            let taken = self.take(&file, random)?;
            checks.that(
                format!("pass {pass}: {} bytes after {told:?}", taken.bytes),
                taken.bytes <= told.dirty,
            );
            self.sent(checks, &format!("pass {pass}"), &taken, &written);
            report.pre_copy_pages += taken.pages.len();
        }
        report.pre_copy_pages += self.at_work(checks, &file, random)?;
        self.sleeps(checks, &file, random)?;

        let carried = self.switch_over(checks, &file, random, report)?;
        report.commands_carried += carried;
        Ok(())
    }

    /// Writes some pages with a new epoch, by the engine and by the CPU; returns the pages.
    fn write(&mut self, random: &mut Random, count: usize) -> Result<BTreeSet<usize>> {
        self.epoch += 1;
        let mut written = BTreeSet::new();
        for _ in 0..count.div_ceil(32) {
            let mut commands = Vec::new();
            for _ in 0..count.min(32) {
                let page = random.below(VRAM / PAGE);
                if random.coin() {
                    self.mark(page);
                    written.insert(page);
                } else {
                    let pages = random.size(20).min(VRAM / PAGE - page);
                    commands.push(self.fill(page, pages));
                    written.extend(page..page + pages);
                }
            }
            self.card.execute(&commands)?;
        }
        Ok(written)
    }

    /// Writes the epoch to both ends of a page by the CPU.
    fn mark(&self, page: usize) {
        let epoch = self.epoch.to_le_bytes();
        self.card.vram.write(page * PAGE, &epoch);
        self.card
            .vram
            .write((page + 1) * PAGE - epoch.len(), &epoch);
    }

    fn fill(&self, page: usize, pages: usize) -> Command {
        Command::fill_vram(page * PAGE, pages * PAGE, self.epoch)
    }

    /// Reads the available data, in pieces of random sizes.
    fn take(&mut self, file: &DataFile, random: &mut Random) -> Result<Taken> {
        let (bytes, is_end) = file.read_to_end(1000 + random.below(200_000))?;
        Ok(Taken {
            pages: self.reader.take(&bytes, &mut self.image)?,
            bytes: bytes.len() as u64,
            is_end,
        })
    }

    /// Requires that exactly the written pages were sent, once, with their contents.
    fn sent(&self, checks: &mut Checks, what: &str, taken: &Taken, written: &BTreeSet<usize>) {
        let sent: BTreeSet<usize> = taken.pages.iter().copied().collect();
        let lost = written.difference(&sent).count();
        let needless = sent.difference(written).count();
        checks.equal(format!("{what}: pages lost"), lost, 0);
        checks.equal(format!("{what}: pages sent for nothing"), needless, 0);
        checks.equal(format!("{what}: pages sent"), taken.pages.len(), sent.len());
        let same = self.image == contents(&self.card.vram);
        checks.that(format!("{what}: another VRAM than the device's"), same);
    }

    /// Tests that MIG_DATA_SIZE of a running device covers a migration that stops it at once.
    fn straight(&mut self, checks: &mut Checks, written: &BTreeSet<usize>) -> Result<()> {
        let device = &self.card.device;
        let told = device.stop_copy_length()?;
        let file = device.set_state(State::StopCopy)?;
        let (bytes, _) = file
            .context("STOP_COPY came without a file")?
            .read_to_end(1 << 16)?;
        device.set_state(State::Running)?;
        checks.that(
            format!(
                "MIG_DATA_SIZE while running: {} bytes after {told}",
                bytes.len()
            ),
            bytes.len() as u64 <= told,
        );
        let mut image = vec![0; VRAM];
        let pages = Reader::default().take(&bytes, &mut image)?;
        checks.equal("pages without PRE_COPY", pages.len(), written.len());
        let same = image == contents(&self.card.vram);
        checks.that("another VRAM without PRE_COPY", same);
        Ok(())
    }

    /// Reads while the engine and the CPU write, and requires that the final stream has the final
    /// contents.
    fn at_work(
        &mut self,
        checks: &mut Checks,
        file: &DataFile,
        random: &mut Random,
    ) -> Result<usize> {
        self.epoch += 1;
        let mut written = BTreeSet::new();
        let mut commands = Vec::new();
        for _ in 0..60 {
            let page = random.below(VRAM / PAGE - 64);
            commands.push(self.fill(page, 64));
            written.extend(page..page + 64);
        }
        self.card.submit(&commands)?;
        let mut sent = Vec::new();
        for _ in 0..200 {
            let page = random.below(VRAM / PAGE);
            self.mark(page);
            written.insert(page);
            let mut piece = vec![0; random.size(60_000)];
            match file.read(&mut piece) {
                Ok(count) => sent.extend(self.reader.take(&piece[..count], &mut self.image)?),
                // Nothing at this moment.
                Err(Errno::NOMSG) => {}
                Err(error) => return Err(error).context("reading while the device works"),
            }
        }
        self.card.await_idle()?;
        let told = file.precopy_info(None, 0)?;
        let rest = self.take(file, random)?;
        checks.that(
            format!("after work: {} bytes after {told:?}", rest.bytes),
            rest.bytes <= told.initial + told.dirty,
        );
        sent.extend(&rest.pages);
        let total = sent.len();
        let needless = sent.iter().filter(|page| !written.contains(page)).count();
        checks.equal("pages sent for nothing during work", needless, 0);
        let once: BTreeSet<usize> = sent.into_iter().collect();
        checks.equal("pages sent during work", once.len(), written.len());
        let same = self.image == contents(&self.card.vram);
        checks.that("after work: another VRAM than the device's", same);
        Ok(total)
    }

    /// Tests that a thread that polls a drained file sleeps until the CPU or the engine writes to
    /// VRAM.
    fn sleeps(&mut self, checks: &mut Checks, file: &DataFile, random: &mut Random) -> Result<()> {
        for by_cpu in [true, false] {
            checks.equal("a drained file is readable", file.is_readable()?, false);
            self.epoch += 1;
            let (tell, told) = channel();
            let woken = thread::scope(|scope| {
                let sleeper = scope.spawn(move || {
                    tell.send(gettid())?;
                    anyhow::Ok(file.await_readable(patience::of(PATIENCE))?)
                });
                await_sleep(told.recv()?)?;
                match by_cpu {
                    true => self.mark(7),
                    false => self.card.execute(&[self.fill(7, 1)])?,
                }
                sleeper.join().map_err(|_| anyhow!("a thread panicked"))?
            })?;
            let who = if by_cpu { "the CPU" } else { "the engine" };
            checks.that(format!("a write by {who} wakes nobody"), woken);
            let taken = self.take(file, random)?;
            checks.equal(format!("pages written by {who}"), taken.pages, vec![7]);
        }
        Ok(())
    }

    /// Stops with work in flight, and continues it on a second card. Returns the number of commands
    /// that the second card has executed.
    fn switch_over(
        &mut self,
        checks: &mut Checks,
        file: &DataFile,
        random: &mut Random,
        report: &mut Report,
    ) -> Result<u32> {
        // What PRE_COPY has not read any more.
        self.write(random, 100)?;
        let (source, device) = (&self.card, &self.card.device);
        ensure!(source.get(reg::ERROR)? == 0, "the source has met an error");
        self.epoch += 1;
        let mut commands = Vec::new();
        for _ in 0..30 {
            let page = random.below(VRAM / PAGE - 256);
            commands.push(self.fill(page, 256));
            let to = DATA + random.below(1 << 20);
            commands.push(Command::download(iova(to), page * PAGE + 77, 1_000_001));
        }
        commands.push(Command::fence(iova(FENCE), LAST));
        let mut shadow = Shadow {
            guest: contents(&source.guest),
            vram: contents(&source.vram),
        };
        commands.iter().for_each(|command| shadow.execute(command));

        let first = source.get(reg::RING_TAIL)?;
        source.submit(&commands)?;
        let done = random.below(20) as u32;
        source.await_progress(first, done)?;
        device.set_state(State::StopCopy)?;
        let (head, tail) = (source.get(reg::RING_HEAD)?, source.get(reg::RING_TAIL)?);
        let told = device.stop_copy_length()?;
        let rest = self.take(file, random)?;
        checks.that("the stream does not end", rest.is_end);
        checks.that(
            format!(
                "MIG_DATA_SIZE once stopped: {} bytes after {told}",
                rest.bytes
            ),
            rest.bytes <= told,
        );
        self.reader.ensure_whole()?;
        report.stop_copy_pages += rest.pages.len();
        let source = &self.card;
        let same = self.image == contents(&source.vram);
        checks.that("the stream has another VRAM than the source", same);

        let destination = Card::new()?;
        let file = destination.device.set_state(State::Resuming)?;
        let file = file.context("RESUMING came without a file")?;
        let sizes = [1, 4095, 100_000, 7].map(|size| size + random.below(3));
        file.write_split(&self.reader.bytes, &sizes)?;
        destination.device.set_state(State::Stop)?;
        let same = self.image == contents(&destination.vram);
        checks.that("the destination has another VRAM", same);
        destination.guest.write(0, &contents(&source.guest));
        destination.device.set_state(State::Running)?;
        destination.await_idle()?;

        let fence = destination.fence();
        let end = (fence.value, fence.status, destination.fence_register()?);
        checks.equal("the fence behind the work in flight", end, (LAST, 0, LAST));
        let registers = (
            destination.get(reg::RING_HEAD)?,
            destination.get(reg::ERROR)?,
        );
        checks.equal("HEAD and ERROR then", registers, (tail, 0));
        let same = contents(&destination.vram) == shadow.vram;
        checks.that("VRAM is not what the commands make of it", same);
        let same = contents(&destination.guest)[FENCE..] == shadow.guest[FENCE..];
        checks.that("guest memory is not what the commands make of it", same);
        Ok(tail.wrapping_sub(head) % RING)
    }
}

/// Waits until a thread of this process sleeps in poll(). The kernel has no event for that.
fn await_sleep(thread: Pid) -> Result<()> {
    let file = format!("/proc/self/task/{}/syscall", thread.as_raw_nonzero());
    let deadline = patience::until(PATIENCE);
    let sleeps = |text: String| IN_POLL.iter().any(|number| text.starts_with(number));
    while !fs::read_to_string(&file).is_ok_and(sleeps) {
        ensure!(!deadline.is_over(), "a thread does not get to sleep");
        thread::yield_now();
    }
    Ok(())
}
