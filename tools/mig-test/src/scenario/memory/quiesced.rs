// SPDX-License-Identifier: GPL-2.0
//! A device that is quiesced reaches no guest memory, whatever its driver tries, and is quiesced
//! only when the copy that it has begun is over.

use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Result};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::thread::gettid;

use super::card::{iova, Card, Kind};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::waiting;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::migration::State;
use crate::vfio::userfault::Late;
use crate::vfio::Mapping;

/// Where memory is that comes late.
const LATE: u64 = 0x3_0000_0000;
/// How long a thread may take to get to where it waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes every call in every state in which the device is quiescent, and in those around it.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let [kept, hardware, fresh] = [0, 1, 2].map(|number| card.channel(number));
    kept.pin(Kind::Write, iova(0), PAGE)?;
    hardware.pin(Kind::Dma, iova(PAGE), PAGE)?;
    for state in [State::RunningP2p, State::Stop] {
        card.device.set_state(state)?;
        let before = card.contents(0, PAGE);
        let mut refused = |what: &str, answer: Result<(), Errno>| {
            checks.refused(format!("{what} in {state:?}"), answer, Errno::BUSY);
        };
        refused("read", fresh.read(iova(0), 1).map(drop));
        refused("write", fresh.write(iova(0), &[1]));
        for kind in Kind::ALL {
            refused(&format!("{kind:?} pin"), fresh.pin(kind, iova(0), PAGE));
        }
        refused("read through a guard", kept.kept_read(0, 1).map(drop));
        refused("write through a guard", kept.kept_write(0, &[1]));
        refused("start of hardware", hardware.kept_start());
        let same = card.contents(0, PAGE) == before;
        checks.that(format!("a refused write has written in {state:?}"), same);
        let walk = hardware.kept_walk();
        checks.equal(format!("pages of hardware in {state:?}"), walk, Ok(1));
        checks.equal("pages pinned meanwhile", pinned()? - nothing, 2);
    }
    card.device.set_state(State::Running)?;
    let read = kept.kept_read(0, 1);
    checks.that("a guard is refused once the device runs", read.is_ok());
    checks.equal("write again", fresh.write(iova(0), &[2]), Ok(()));
    card.device.set_state(State::Stop)?;
    card.device.reset()?;
    checks.equal("write after a reset", fresh.write(iova(0), &[3]), Ok(()));
    checks.equal("pages pinned after it", pinned()?, nothing);
    Ok(())
}

/// The device copies from memory that comes late, and is asked to stop meanwhile.
pub fn while_it_copies(checks: &mut Checks, card: &Card) -> Result<()> {
    let memory = Arc::new(Mapping::anonymous(PAGE)?);
    let late = Late::new(memory.clone())?;
    card.device.space.map_dma(Dma {
        iova: LATE,
        memory: &memory,
        offset: 0,
        len: PAGE,
        access: Access::ReadWrite,
    })?;
    let contents = Mapping::anonymous(PAGE)?;
    contents.write(0, &[7]);
    let (end, _writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (tell, told) = channel();
    thread::scope(|scope| {
        let copy = scope.spawn(|| card.channel(0).read(LATE, 1));
        let faulted = late.wait(end.as_fd())?;
        let stop = scope.spawn(move || {
            tell.send(gettid()).map_err(|_| Errno::SRCH)?;
            card.device.set_state(State::Stop).map(drop)
        });
        let waits = waiting::in_ioctl(told.recv()?, PATIENCE);
        let early = stop.is_finished() && !copy.is_finished();
        late.provide(0, &contents)?;
        ensure!(faulted.is_some(), "the copy does not wait");
        checks.that("the device is quiesced during a copy", waits && !early);
        let read = copy.join().map_err(|_| anyhow!("the copy panicked"))?;
        checks.equal("what came late", read, Ok(vec![7]));
        let stopped = stop.join().map_err(|_| anyhow!("the stop panicked"))?;
        checks.equal("the stop", stopped, Ok(()));
        anyhow::Ok(())
    })?;
    card.device.set_state(State::Running)?;
    card.device.space.unmap_dma(LATE, PAGE)?;
    Ok(())
}
