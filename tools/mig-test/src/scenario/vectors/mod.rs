// SPDX-License-Identifier: GPL-2.0
//! Interrupts of a card with many vectors: each level and event arrives at its own eventfd,
//! `VFIO_DEVICE_SET_IRQS` takes ranges as vfio-pci does, and nothing is lost while user space sets
//! eventfds, while the device is stopped, or in a move.

mod peer;

use std::os::fd::AsRawFd;
use std::thread;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_NORESIZE as NORESIZE, VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK as UNMASK, VFIO_IRQ_SET_DATA_BOOL as BOOL,
    VFIO_IRQ_SET_DATA_NONE as NONE, VFIO_PCI_INTX_IRQ_INDEX as INTX,
    VFIO_PCI_MSIX_IRQ_INDEX as MSIX, VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::bed::load;
use super::conformance::checks::Checks;
use super::conformance::session::{capture, load as load_stream};
use super::Ctx;
use crate::event::Outcome;
use crate::kernel_log::KernelLog;
use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::irq::{Event, SetIrqs};
use crate::vfio::migration::State;

/// The driver: tools/mig-test/kmod/vectors_rs.rs.
const MODULE: &str = "vectors_rs";
/// Its registers.
const EVENT: u64 = 0;
const ASSERT: u64 = 4;
const DEASSERT: u64 = 8;

/// Vectors of the type `few`: of MSI, and of MSI-X.
const FEW: (u32, u32) = (8, 4);
/// Those of the type `many`.
const MANY: (u32, u32) = (32, 2048);
/// Events of each vector, where threads race.
const ROUNDS: u64 = 20_000;

/// An open card. Removed when dropped, after the device.
struct Card {
    device: Device,
    _mdev: Mdev,
}

impl Card {
    fn new(name: &str) -> Result<Card> {
        let mdev = MdevType::find("vectors", &format!("vectors-{name}"))?.create()?;
        Ok(Card {
            device: Device::open(mdev.path())?,
            _mdev: mdev,
        })
    }

    /// Writes the number of a vector to a register.
    fn act(&self, register: u64, vector: u32) -> Result<()> {
        let written = self.device.write(register, &vector.to_le_bytes())?;
        ensure!(written == 4, "a write of {written} bytes");
        Ok(())
    }

    /// Sets eventfds from `start` on.
    fn connect(&self, index: u32, start: u32, fds: &[i32]) -> Result<(), Errno> {
        self.device.connect_from(index, TRIGGER, start, fds)
    }

    /// Triggers by hand, all of a range or those whose byte is not 0.
    fn trigger(&self, index: u32, start: u32, count: u32, which: &[u8]) -> Result<(), Errno> {
        let data = if which.is_empty() { NONE } else { BOOL };
        self.device.set_irqs(&SetIrqs {
            flags: data | TRIGGER,
            index,
            start,
            count,
            data: which.to_vec(),
            ..SetIrqs::default()
        })
    }
}

/// Eventfds, one for each vector.
struct Events(Vec<Event>);

impl Events {
    fn new(count: u32) -> Result<Events> {
        Ok(Events(
            (0..count).map(|_| Event::new()).collect::<Result<_, _>>()?,
        ))
    }

    fn fds(&self) -> Vec<i32> {
        self.0.iter().map(Event::number).collect()
    }

    /// Takes the signals of each.
    fn take(&self) -> Result<Vec<u64>> {
        Ok(self.0.iter().map(Event::take).collect::<Result<_, _>>()?)
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load(MODULE)?;
    let mut checks = Checks::default();
    ctx.step("what the device says of its vectors");
    counts(&mut checks)?;
    ctx.step("MSI-X: levels, events, ranges");
    messages(&mut checks)?;
    ranges(&mut checks)?;
    ctx.step("MSI with fewer eventfds than vectors");
    shared(&mut checks)?;
    ctx.step("INTx of several vectors");
    intx(&mut checks)?;
    ctx.step("stopped, moved, reset");
    moved(&mut checks)?;
    ctx.step("2,048 vectors");
    many(&mut checks)?;
    ctx.step("threads that send, while eventfds come and go");
    races(&mut checks)?;
    ctx.step("a vector that the device lacks");
    beyond(&mut checks)?;
    ctx.step("the same calls beside vfio-pci");
    peer::compare(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn counts(checks: &mut Checks) -> Result<()> {
    for (name, (msi, msix)) in [("few", FEW), ("many", MANY)] {
        let card = Card::new(name)?;
        for (index, count, resizes) in [(MSI, msi, false), (MSIX, msix, true)] {
            let info = card.device.irq(index, None)?;
            checks.equal(format!("{name}: vectors of {index}"), info.count, count);
            let may = info.flags & NORESIZE == 0;
            checks.equal(format!("{name}: {index} resizes"), may, resizes);
            let beyond = card.connect(index, count, &[-1]);
            checks.refused("a start behind the last", beyond, Errno::INVAL);
            let beyond = card.connect(index, count - 1, &[-1; 2]);
            checks.refused("an end behind the last", beyond, Errno::INVAL);
        }
    }
    Ok(())
}

fn messages(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(4)?);
    card.connect(MSIX, 0, &events.fds())?;
    for vector in 0..4 {
        let only = |times| {
            let mut counts = vec![0; 4];
            counts[vector as usize] = times;
            counts
        };
        card.act(EVENT, vector)?;
        card.act(EVENT, vector)?;
        checks.equal("two events of a vector", events.take()?, only(2));
        card.act(ASSERT, vector)?;
        card.act(ASSERT, vector)?;
        checks.equal("a level that rises", events.take()?, only(1));
        card.act(DEASSERT, vector)?;
        checks.equal("a level that falls", events.take()?, only(0));
    }
    let other = card.connect(MSI, 0, &[-1]);
    checks.refused("MSI while MSI-X is in use", other, Errno::INVAL);
    Ok(())
}

fn ranges(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(4)?);
    let fds = events.fds();
    card.connect(MSIX, 0, &fds)?;
    checks.equal(
        "none in the middle",
        card.connect(MSIX, 1, &[-1; 2]),
        Ok(()),
    );
    for vector in 0..4 {
        card.act(EVENT, vector)?;
        card.act(EVENT, vector)?;
    }
    checks.equal("those that are left", events.take()?, vec![2, 0, 0, 2]);
    card.connect(MSIX, 1, &fds[1..3])?;
    // Several are one by now.
    checks.equal("what came meanwhile", events.take()?, vec![0, 1, 1, 0]);

    checks.equal("a range by hand", card.trigger(MSIX, 1, 3, &[]), Ok(()));
    checks.equal("signals of it", events.take()?, vec![0, 1, 1, 1]);
    let some = card.trigger(MSIX, 1, 3, &[1, 0, 1]);
    checks.equal("some of a range by hand", some, Ok(()));
    checks.equal("signals of some", events.take()?, vec![0, 1, 0, 1]);

    let file = std::fs::File::open("/dev/null")?;
    for (bad, errno) in [(9999, Errno::BADF), (file.as_raw_fd(), Errno::INVAL)] {
        let refused = card.connect(MSIX, 0, &[-1, -1, bad]);
        checks.refused("a bad one among them", refused, errno);
        card.trigger(MSIX, 0, 4, &[])?;
        checks.equal("none is lost by it", events.take()?, vec![1; 4]);
    }
    card.device.disable(MSIX)?;
    let refused = card.connect(MSIX, 0, &[fds[0], 9999]);
    checks.refused("a bad one among the first", refused, Errno::BADF);
    let hand = card.trigger(MSIX, 0, 1, &[]);
    checks.refused("by hand, with none set", hand, Errno::INVAL);
    checks.equal("MSI after it", card.connect(MSI, 0, &fds[..1]), Ok(()));
    Ok(())
}

fn shared(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(2)?);
    let fds = events.fds();
    card.connect(MSI, 0, &fds)?;
    for vector in 0..8 {
        card.act(EVENT, vector)?;
    }
    checks.equal("events of eight vectors", events.take()?, vec![1, 7]);
    let third = card.connect(MSI, 2, &fds[..1]);
    checks.refused("a third, of two that were enabled", third, Errno::INVAL);
    checks.equal("the second again", card.connect(MSI, 1, &fds[1..]), Ok(()));
    let mask = card.device.act(MSI, UNMASK);
    checks.refused("unmask of MSI", mask, Errno::NOTTY);
    Ok(())
}

fn intx(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(1)?);
    card.connect(INTX, 0, &events.fds())?;
    let signals = |checks: &mut Checks, what: &str, wanted| -> Result<()> {
        checks.equal(what, events.take()?, vec![wanted]);
        Ok(())
    };
    card.act(ASSERT, 5)?;
    signals(checks, "the first vector that is asserted", 1)?;
    card.act(ASSERT, 6)?;
    card.act(DEASSERT, 5)?;
    card.device.act(INTX, UNMASK)?;
    signals(checks, "an unmask while one is", 1)?;
    card.act(DEASSERT, 6)?;
    card.device.act(INTX, UNMASK)?;
    signals(checks, "an unmask while none is", 0)?;
    card.act(EVENT, 3)?;
    card.act(EVENT, 4)?;
    signals(checks, "two events before an unmask", 1)?;
    card.device.act(INTX, UNMASK)?;
    signals(checks, "the second of them", 1)?;
    card.device.act(INTX, UNMASK)?;
    signals(checks, "no more", 0)
}

fn moved(checks: &mut Checks) -> Result<()> {
    let (source, events) = (Card::new("few")?, Events::new(4)?);
    source.connect(MSIX, 0, &events.fds())?;
    source.act(EVENT, 1)?;
    source.act(ASSERT, 2)?;
    checks.equal("signals at the source", events.take()?, vec![0, 1, 1, 0]);
    source.device.set_state(State::Stop)?;
    source.act(EVENT, 3)?;
    checks.equal("signals while stopped", events.take()?, vec![0; 4]);
    let stream = {
        let file = source.device.set_state(State::StopCopy)?;
        let (stream, _) = file.context("no data file")?.read_to_end(1 << 16)?;
        source.device.set_state(State::Stop)?;
        stream
    };
    let (destination, there) = (Card::new("few")?, Events::new(4)?);
    load_stream(&destination.device, &stream)?;
    destination.connect(MSIX, 0, &there.fds())?;
    checks.equal("signals before it runs", there.take()?, vec![0; 4]);
    destination.device.set_state(State::Running)?;
    // What was heard at the source is not known here: each that was ever sent, once.
    checks.equal(
        "signals at the destination",
        there.take()?,
        vec![0, 1, 1, 1],
    );
    source.device.set_state(State::Running)?;
    // The one of before the stop is not sent again, the level is, and so is what came meanwhile.
    checks.equal(
        "signals of a move that failed",
        events.take()?,
        vec![0, 0, 1, 1],
    );

    destination.device.reset()?;
    load_stream(&destination.device, &stream)?;
    destination.device.reset()?;
    checks.equal("signals after a reset", there.take()?, vec![0; 4]);
    destination.act(ASSERT, 2)?;
    checks.equal(
        "a level that the reset has lowered",
        there.take()?,
        vec![0, 0, 1, 0],
    );
    Ok(())
}

fn many(checks: &mut Checks) -> Result<()> {
    let (source, one, last) = (Card::new("many")?, Event::new()?, Event::new()?);
    let mut fds = vec![one.number(); MANY.1 as usize];
    fds[MANY.1 as usize - 1] = last.number();
    source.connect(MSIX, 0, &fds)?;
    for vector in 0..MANY.1 {
        source.act(EVENT, vector)?;
    }
    checks.equal("the last vector's", last.take()?, 1);
    checks.equal("all others'", one.take()?, u64::from(MANY.1) - 1);
    let stream = capture(&source.device)?;
    let (destination, there) = (Card::new("many")?, Event::new()?);
    destination.connect(MSIX, 0, &vec![there.number(); MANY.1 as usize])?;
    load_stream(&destination.device, &stream)?;
    destination.device.set_state(State::Running)?;
    checks.equal("all of them, moved", there.take()?, MANY.1.into());
    Ok(())
}

/// A thread for each vector sends events; one sets and removes the eventfd of the last vector. Each
/// event of the others is counted, and of the last vector the last one is not lost.
fn races(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(4)?);
    let fds = events.fds();
    card.connect(MSIX, 0, &fds)?;
    thread::scope(|scope| -> Result<()> {
        let send = |vector| {
            let card = &card;
            scope.spawn(move || (0..ROUNDS).try_for_each(|_| card.act(EVENT, vector)))
        };
        let threads: Vec<_> = (0..4).map(send).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            card.connect(MSIX, 3, &[-1])?;
            card.connect(MSIX, 3, &fds[3..])?;
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.for_each(|sent| checks.that("a thread sent", matches!(sent, Ok(Ok(())))));
        Ok(())
    })?;
    let mut heard = events.take()?;
    let last = heard.pop().unwrap_or(0);
    checks.equal("events of the threads", heard, vec![ROUNDS; 3]);
    checks.that(
        format!("{last} of {ROUNDS} where the eventfd came and went"),
        (1..=ROUNDS).contains(&last),
    );
    card.connect(MSIX, 3, &[-1])?;
    card.act(EVENT, 3)?;
    card.connect(MSIX, 3, &fds[3..])?;
    checks.equal("the last of them", events.take()?, vec![0, 0, 0, 1]);
    Ok(())
}

fn beyond(checks: &mut Checks) -> Result<()> {
    let (card, events) = (Card::new("few")?, Events::new(4)?);
    card.connect(MSIX, 0, &events.fds())?;
    let mut log = KernelLog::from_now()?;
    for register in [EVENT, ASSERT] {
        card.act(register, 8)?;
        card.act(register, u32::MAX)?;
    }
    checks.equal("signals of a missing vector", events.take()?, vec![0; 4]);
    let rule = "mdev: the driver breaks a rule: vector 8 of a device that has 8";
    let lines = log.lines_with(&["mdev: "])?;
    checks.that(
        "the log names the rule",
        lines.iter().any(|line| line.ends_with(rule)),
    );
    Ok(())
}
