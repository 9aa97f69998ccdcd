// SPDX-License-Identifier: GPL-2.0
//! Guest memory with missing pages, as in a post-copy migration, that is unmapped while commands
//! wait for the pages.
//!
//! A copy to or from a missing page waits for it with the container locked, and so blocks every pin
//! and every unmap in that container. A pin of such a page does not wait: the kernel refuses it.
//! Nothing hangs if the thread that provides the pages does not itself wait for one.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use mgpu_model::engine::SLICE;
use mgpu_model::error::Error;
use mgpu_model::uapi::reg;
use mig_common::random::Random;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::thread::{gettid, Pid};
use serde::Serialize;

use super::card::{iova, Card, Command, FENCE, IOVA, RING};
use super::random;
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::{waiting, Ctx};
use crate::vfio::device::Space;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::userfault::Late;
use crate::vfio::Mapping;

/// Unmappings.
const ROUNDS: u64 = 300;
/// Bytes of memory that is registered to come late, and where it is for the devices.
const LEN: usize = 1 << 20;
const AREA: u64 = IOVA + (64 << 20);
/// In each round the pages from here on are missing, so that pins of those before succeed.
const MISSING: usize = LEN / 2;
/// Where the second card has its own memory.
const BESIDE: u64 = IOVA + (128 << 20);
/// What a command fails with that met memory that was missing or had gone.
const GUEST_READ: u32 = Error::GuestRead.code();
const GUEST_WRITE: u32 = Error::GuestWrite.code();
/// The timeout for an unmap to begin to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The figures.
#[derive(Default, Serialize)]
struct Report {
    /// Unmappings.
    unmaps: u64,
    /// Those that began while a command waited for a page.
    unmaps_during_a_wait: u64,
    /// The number of pages that commands have waited for.
    pages_waited_for: usize,
    /// The number of rounds in which a command accessed missing or unmapped memory.
    rounds_failed: u64,
    /// Batches of pins by the second card meanwhile.
    batches_beside: u64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    let mut report = Report::default();
    let before = pinned()?;
    let bed = Bed::new(&mut random)?;

    ctx.step("memory that comes late, and stays");
    bed.stays(&mut checks)?;
    checks.equal("pages still pinned then", pinned()?, before);
    ctx.step(format!("{ROUNDS} unmappings"));
    bed.goes(&mut checks, &mut random, &mut report)?;
    checks.equal("pages still pinned", pinned()?, before);
    checks.that(
        format!("{} unmaps during a wait", report.unmaps_during_a_wait),
        report.unmaps_during_a_wait > 0,
    );
    drop(bed);
    checks.equal("pages pinned with the cards gone", pinned()?, before);
    ctx.report(report)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Two cards in one container, and memory with missing pages. Its drop first wakes those that wait
/// for the pages.
struct Bed {
    late: Late,
    memory: Arc<Mapping>,
    /// The contents of the provided pages.
    contents: Mapping,
    beside: Card,
    card: Card,
}

/// The result of a round.
#[derive(Default)]
struct Served {
    faults: usize,
    /// An unmap began while a command waited.
    met: bool,
}

impl Bed {
    fn new(random: &mut Random) -> Result<Bed> {
        let card = Card::started()?;
        let memory = Arc::new(Mapping::anonymous(LEN)?);
        let contents = Mapping::anonymous(LEN)?;
        let bytes: Vec<u8> = (0..LEN).map(|_| random.next_u64() as u8).collect();
        contents.write(0, &bytes);
        Ok(Bed {
            late: Late::new(memory.clone())?,
            memory,
            contents,
            beside: Card::started_beside(&card, BESIDE)?,
            card,
        })
    }

    /// Maps the memory with all pages missing.
    fn map(&self) -> Result<()> {
        self.memory.discard()?;
        Ok(self.card.device.space.map_dma(Dma {
            iova: AREA,
            memory: &self.memory,
            offset: 0,
            len: LEN,
            access: Access::ReadWrite,
        })?)
    }

    /// Tests that pins of missing pages fail, and that copies wait for them and find their
    /// contents.
    fn stays(&self, checks: &mut Checks) -> Result<()> {
        self.map()?;
        self.card.execute(&[
            Command::upload(0, AREA, 2 * PAGE),
            Command::fence(iova(FENCE), 1),
        ])?;
        let status = self.card.fence().status;
        checks.equal("status of a pin of missing pages", status, GUEST_READ);
        self.card.set(reg::ERROR, 0)?;

        let length = 100;
        let uploads: Vec<Command> = (0..LEN / PAGE)
            .map(|page| Command::upload(page * length, AREA + (page * PAGE) as u64, length))
            .collect();
        let (end, ended) = pipe_with(PipeFlags::CLOEXEC)?;
        let served = thread::scope(|scope| {
            let server = scope.spawn(move || self.serve(&end, None));
            let done = uploads
                .chunks(RING as usize - 1)
                .try_for_each(|batch| self.card.execute(batch));
            drop(ended);
            done.and(joined(server.join()))
        })?;
        self.card.device.space.unmap_dma(AREA, LEN)?;
        checks.equal("pages waited for", served.faults, LEN / PAGE);
        checks.equal("error of the copies", self.card.get(reg::ERROR)?, 0);
        let mut arrived = vec![0; LEN / PAGE * length];
        self.card.vram.read(0, &mut arrived);
        let mut right = vec![0; arrived.len()];
        for (page, piece) in right.chunks_mut(length).enumerate() {
            self.contents.read(page * PAGE, piece);
        }
        checks.that("VRAM has not what came late", arrived == right);
        Ok(())
    }

    /// Unmaps the memory repeatedly, while the first card copies and the second one pins.
    fn goes(&self, checks: &mut Checks, random: &mut Random, report: &mut Report) -> Result<()> {
        let over = AtomicBool::new(false);
        let seed = random.next_u64();
        let (done, strange) = thread::scope(|scope| {
            let beside = scope.spawn(|| work(&self.beside, &over, Random::new(seed)));
            let done = (0..ROUNDS).try_for_each(|round| {
                self.once(checks, random, report, round)
                    .with_context(|| format!("round {round}"))
            });
            over.store(true, Ordering::Release);
            (done, joined(beside.join()))
        });
        done?;
        let (batches, strange) = strange?;
        report.batches_beside = batches;
        checks.equal("errors of the second card", strange, Vec::new());
        Ok(())
    }

    /// Unmaps the memory while a command waits for a page, or after all commands.
    fn once(
        &self,
        checks: &mut Checks,
        random: &mut Random,
        report: &mut Report,
        round: u64,
    ) -> Result<()> {
        self.map()?;
        for page in 0..MISSING / PAGE {
            self.late.provide(page, &self.contents)?;
        }
        let commands: Vec<Command> = (0..1 + random.below(20))
            .map(|_| {
                let length = random.size(MISSING / 2);
                command(random, MISSING, length)
            })
            .chain([Command::fence(iova(FENCE), round)])
            .collect();
        let at = 1 + random.below(8);
        let (end, ended) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let (unmapped, served) = thread::scope(|scope| {
            let space = &self.card.device.space;
            let unmapper = scope.spawn(move || unmap(space, &tell, &asked));
            let server = scope.spawn(move || {
                let thread = told.recv()?;
                self.serve(&end, Some(Unmapper { at, ask, thread }))
            });
            let done = self.card.execute(&commands);
            drop(ended);
            let served = done.and(joined(server.join()));
            // Without a server nobody asks any more, and the unmapper ends.
            (joined(unmapper.join()), served)
        });
        let (served, unmapped) = (served?, unmapped?);
        let what = format!("round {round}: bytes unmapped");
        checks.equal(what, unmapped, LEN as u64);
        let fence = self.card.fence();
        checks.equal(format!("round {round}: the fence"), fence.value, round);
        let right = [0, GUEST_READ, GUEST_WRITE].contains(&fence.status);
        checks.that(format!("round {round}: status {}", fence.status), right);
        report.unmaps += 1;
        report.unmaps_during_a_wait += u64::from(served.met);
        report.pages_waited_for += served.faults;
        report.rounds_failed += u64::from(fence.status != 0);
        Ok(())
    }

    /// Provides pages until `end` is closed; one of them when the unmapper waits as well.
    fn serve(&self, end: &OwnedFd, mut unmapper: Option<Unmapper>) -> Result<Served> {
        let mut served = Served::default();
        while let Some(page) = self.late.wait(end)? {
            served.faults += 1;
            if let Some(unmapper) = unmapper.take_if(|it| it.at == served.faults) {
                served.met = unmapper.begin();
                ensure!(served.met, "the unmap does not wait for the command");
            }
            self.late.provide(page, &self.contents)?;
        }
        Ok(served)
    }
}

/// A thread that unmaps on the server's request.
struct Unmapper {
    /// The page to be waited for, counted from one.
    at: usize,
    ask: Sender<()>,
    thread: Pid,
}

impl Unmapper {
    /// Asks for the unmap, and returns whether it begins to wait inside its ioctl.
    fn begin(self) -> bool {
        self.ask.send(()).is_ok() && waiting::in_ioctl(self.thread, PATIENCE)
    }
}

/// Unmaps on request, or when no more request can come.
fn unmap(space: &Space, tell: &Sender<Pid>, asked: &Receiver<()>) -> Result<u64> {
    tell.send(gettid())?;
    let _ = asked.recv();
    Ok(space.unmap_dma(AREA, LEN)?)
}

/// Returns a command that accesses a number of bytes of the area from `first` on.
fn command(random: &mut Random, first: usize, length: usize) -> Command {
    let at = AREA + (first + random.below(LEN - first - length)) as u64;
    match random.below(3) {
        0 => Command::fill_guest(at, length, 5),
        1 => Command::download(at, 0, length),
        _ => Command::upload(0, at, length),
    }
}

/// Keeps the second card busy in the area. Returns the number of batches of commands, and errors
/// other than those of missing or unmapped memory.
fn work(card: &Card, over: &AtomicBool, mut random: Random) -> Result<(u64, Vec<u32>)> {
    let (mut batches, mut strange) = (0, Vec::new());
    while !over.load(Ordering::Acquire) {
        // Lengths that are pinned, in one piece. A copy would wait between rounds, when nobody
        // provides.
        let commands: Vec<Command> = (0..8)
            .map(|_| {
                let length = PAGE + random.below(SLICE - PAGE);
                command(&mut random, 0, length)
            })
            .collect();
        card.execute(&commands)?;
        let error = card.get(reg::ERROR)?;
        if ![0, GUEST_READ, GUEST_WRITE].contains(&error) {
            strange.push(error);
        }
        card.set(reg::ERROR, 0)?;
        batches += 1;
    }
    Ok((batches, strange))
}

fn joined<T>(result: thread::Result<Result<T>>) -> Result<T> {
    result.map_err(|_| anyhow!("a thread panicked"))?
}
