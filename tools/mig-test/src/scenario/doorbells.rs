// SPDX-License-Identifier: GPL-2.0
//! A BAR in parts, of the example with doorbells: what can be mapped of it, that mapped and trapped
//! accesses meet, and that no ring is lost, whoever rings, at rest, at work, stopped or moved.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Context, Result};
use mig_common::exercise::place::BARS;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
    VFIO_REGION_INFO_FLAG_CAPS as CAPS, VFIO_REGION_INFO_FLAG_MMAP as MMAP,
    VFIO_REGION_INFO_FLAG_READ as READ, VFIO_REGION_INFO_FLAG_WRITE as WRITE,
};

use super::bed::load;
use super::conformance::checks::Checks;
use super::conformance::session::{capture, load as load_stream};
use super::physical::{Physical, RNG};
use super::{until, Ctx};
use crate::event::Outcome;
use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;
use crate::vfio::irq::Event;
use crate::vfio::migration::State;
use crate::vfio::Mapping;

/// The driver: Documentation/examples/doorbells.
const MODULE: &str = "doorbells";
/// The queues, and the slots of each.
const QUEUES: usize = 4;
const SLOTS: u32 = 256;
/// Registers: the sum and the head of a queue are 0x10 after those of the one before.
const SUM: u64 = 0x00;
const HEAD: u64 = 0x08;
const DONE: u64 = 0x40;
const PENDING: u64 = 0x44;
/// The number of BARs of a PCI device.
/// The parts of BAR 0.
const TAILS: u64 = 0x1000;
const SLOTS_AT: u64 = 0x2000;
const MSIX_TABLE: u64 = 0x3000;
const SIZE: u64 = 0x4000;
/// How long the card may take to hear a ring, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rings of each thread, where threads race.
const RINGS: u32 = 20_000;

/// An open card, with its mapped parts. Removed when dropped, after the device.
struct Card {
    tails: Mapping,
    slots: Mapping,
    device: Device,
    _mdev: Mdev,
}

impl Card {
    fn new() -> Result<Card> {
        let mdev = MdevType::find(MODULE, "doorbells-1")?.create()?;
        let device = Device::open(mdev.path())?;
        Ok(Card {
            tails: device.map(TAILS, PAGE).context("map the tails")?,
            slots: device.map(SLOTS_AT, PAGE).context("map the slots")?,
            device,
            _mdev: mdev,
        })
    }

    /// Reads a register.
    fn get(&self, register: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        let width = if register % 0x10 == SUM { 8 } else { 4 };
        self.device.read(register, &mut bytes[..width])?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Returns the sum of a queue.
    fn sum(&self, queue: usize) -> Result<u64> {
        self.get(SUM + 0x10 * queue as u64)
    }

    /// Writes a number to a slot.
    fn fill(&self, queue: usize, slot: u32, value: u32) {
        let at = queue * 0x400 + slot as usize * 4;
        self.slots.write(at, &value.to_le_bytes());
    }

    /// Writes a queue's tail.
    fn ring(&self, queue: usize, tail: u32) {
        self.tails.write(queue * 4, &tail.to_le_bytes());
    }

    /// Waits until each queue has caught up with its tail; returns whether they have.
    fn catches_up(&self) -> Result<bool> {
        until(PATIENCE, || Ok(self.get(PENDING)? == 0))
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let mut checks = Checks::default();
    ctx.step("what of the BAR can be mapped");
    layout(&mut checks)?;
    ctx.step("what can be mapped of a device of vfio-pci");
    peer(&mut checks)?;
    ctx.step("mapped and trapped accesses");
    accesses(&mut checks)?;
    ctx.step("a ring of each queue");
    rings(&mut checks)?;
    ctx.step("rings of a card that has not looked");
    unseen(&mut checks)?;
    ctx.step("a ring that nobody has heard moves");
    moved(&mut checks)?;
    ctx.step(format!("{RINGS} rings by each of {QUEUES} threads"));
    races(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn layout(checks: &mut Checks) -> Result<()> {
    let card = Card::new()?;
    let region = card.device.region(0, None)?;
    let flags = READ | WRITE | MMAP | CAPS;
    checks.equal("flags of BAR 0", region.flags, flags);
    checks.equal("size of BAR 0", region.size, SIZE);
    let wanted = vec![TAILS..SLOTS_AT, SLOTS_AT..MSIX_TABLE];
    checks.equal("what can be mapped", card.device.mappable(0)?, wanted);
    let page = PAGE as u64;
    for (what, at, len) in [
        ("the registers", 0, PAGE),
        ("the table of MSI-X", MSIX_TABLE, PAGE),
        ("registers and tails", 0, 2 * PAGE),
        ("two parts at once", TAILS, 2 * PAGE),
        ("slots and the table of MSI-X", SLOTS_AT, 2 * PAGE),
        ("all", 0, SIZE as usize),
        ("what is behind the BAR", SIZE, PAGE),
        ("another BAR", region.offset + (1 << 40) + page, PAGE),
    ] {
        let mapped = card.device.map(at, len).map(drop);
        checks.equal(format!("map {what}"), mapped, Err(Errno::INVAL));
    }
    for at in [TAILS, SLOTS_AT] {
        let mapped = card.device.map(at, PAGE).map(drop);
        checks.equal(format!("map {at:#x} again"), mapped, Ok(()));
    }
    Ok(())
}

/// A BAR of hardware, which the kernel maps in another way, can be mapped as that of an mdev.
fn peer(checks: &mut Checks) -> Result<()> {
    let physical = Physical::bind(RNG)?;
    let device = Device::open(physical.path())?;
    let mut count = 0;
    for index in 0..BARS {
        let mapped = device.map_all(index).map(|areas| areas.len());
        checks.that(format!("BAR {index} cannot be mapped"), mapped.is_ok());
        count += mapped.unwrap_or(0);
    }
    checks.that("vfio-pci has nothing to map", count > 0);
    Ok(())
}

fn accesses(checks: &mut Checks) -> Result<()> {
    let card = Card::new()?;
    card.device.write(SLOTS_AT + 4, &7u32.to_le_bytes())?;
    let mut bytes = [0; 4];
    card.slots.read(4, &mut bytes);
    checks.equal("mapped after a trapped write", bytes, 7u32.to_le_bytes());
    card.slots.write(0xffc, &9u32.to_le_bytes());
    // The last slot, and the beginning of the table of MSI-X, which is a register here.
    let mut bytes = [0xff; 8];
    let count = card.device.read(MSIX_TABLE - 4, &mut bytes);
    checks.equal("a read across the end of a part", count, Ok(8));
    checks.equal("what it reads", u64::from_le_bytes(bytes), 9);
    let count = card
        .device
        .write(TAILS - 4, &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    checks.equal("a write across the beginning", count, Ok(8));
    checks.that("a trapped ring is not heard", card.catches_up()?);
    checks.equal("the head", card.get(HEAD)?, 1);
    card.device.reset()?;
    let mut both = [0xff; 8];
    card.tails.read(0, &mut both[..4]);
    card.slots.read(4, &mut both[4..]);
    checks.equal("both parts after a reset", both, [0; 8]);
    Ok(())
}

fn rings(checks: &mut Checks) -> Result<()> {
    let card = Card::new()?;
    let events = [(); QUEUES].map(|()| Event::new());
    let events = events.into_iter().collect::<Result<Vec<_>, _>>()?;
    let fds: Vec<i32> = events.iter().map(Event::number).collect();
    card.device.connect_all(MSIX, TRIGGER, &fds)?;
    for round in 1..=3u32 {
        for (queue, event) in events.iter().enumerate() {
            card.fill(queue, round - 1, 10 * round + queue as u32);
            card.ring(queue, round);
            let signals = event.await_signal()?;
            ensure!(signals == 1, "{signals} signals of a ring of queue {queue}");
            let bit = 1u64 << queue;
            checks.equal("queues that are done", card.get(DONE)?, bit);
            card.device.write(DONE, &bit.to_le_bytes()[..4])?;
        }
    }
    for queue in 0..QUEUES {
        let all = (1..=3).map(|round| 10 * round + queue as u64).sum();
        checks.equal(format!("sum of queue {queue}"), card.sum(queue)?, all);
    }
    Ok(())
}

/// While a card is stopped its engine does not look, so only the first ring of a page faults.
fn unseen(checks: &mut Checks) -> Result<()> {
    let card = Card::new()?;
    card.ring(0, 1);
    checks.that("a first ring is not heard", card.catches_up()?);
    card.device.set_state(State::Stop)?;
    // Whether the mark of the page was taken before or after the store, it is read-only now or
    // becomes so no more.
    card.ring(0, 2);
    let before = faults()?;
    (0..1000).for_each(|number| card.ring(0, 3 + number % 10));
    checks.equal("faults of 1000 rings", faults()? - before, 0);
    checks.equal("head of a stopped card", card.get(HEAD)?, 1);
    checks.equal("what is pending", card.get(PENDING)?, 1);
    card.device.set_state(State::Running)?;
    checks.that("a ring while it was stopped is lost", card.catches_up()?);
    checks.equal("head of a running card", card.get(HEAD)?, 12);
    Ok(())
}

fn moved(checks: &mut Checks) -> Result<()> {
    let (source, destination) = (Card::new()?, Card::new()?);
    source.fill(2, 0, 5);
    source.ring(2, 1);
    checks.that("a ring is not heard", source.catches_up()?);
    destination.fill(1, 0, 77);
    destination.ring(1, 1);
    checks.that("a ring is not heard", destination.catches_up()?);
    source.device.set_state(State::Stop)?;
    source.fill(2, 1, 6);
    source.ring(2, 2);
    let stream = capture(&source.device)?;
    load_stream(&destination.device, &stream)?;
    checks.equal("sum before it runs", destination.sum(2)?, 5);
    destination.device.set_state(State::Running)?;
    checks.that("a ring that moved is lost", destination.catches_up()?);
    checks.equal("sum of the queue", destination.sum(2)?, 11);
    checks.equal("sum of another queue", destination.sum(1)?, 0);
    let mut slot = [0xff; 4];
    destination.slots.read(0x400, &mut slot);
    checks.equal("a slot of before", slot, [0; 4]);
    Ok(())
}

/// Each thread rings for itself, and looks only when its queue is full: a ring that is lost stands
/// still there, or at the end.
fn races(checks: &mut Checks) -> Result<()> {
    let card = Card::new()?;
    let ring = |queue: usize| -> Result<u64> {
        let head = HEAD + 0x10 * queue as u64;
        let (mut tail, mut sum) = (0, 0);
        for number in 0..RINGS {
            let next = (tail + 1) % SLOTS;
            let is_free = || Ok(card.get(head)? != u64::from(next));
            ensure!(until(PATIENCE, is_free)?, "queue {queue} stands still");
            card.fill(queue, tail, number);
            card.ring(queue, next);
            (tail, sum) = (next, sum + u64::from(number));
        }
        Ok(sum)
    };
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = (0..QUEUES)
            .map(|queue| scope.spawn(move || ring(queue)))
            .collect();
        threads
            .into_iter()
            .map(|one| one.join())
            .collect::<Vec<_>>()
    });
    checks.that("a last ring is lost", card.catches_up()?);
    for (queue, sum) in sums.into_iter().enumerate() {
        let sum = sum.map_err(|_| anyhow!("a thread panicked"))??;
        checks.equal(format!("sum of queue {queue}"), card.sum(queue)?, sum);
    }
    Ok(())
}

/// Returns how many faults this thread has had that needed no I/O: field 10 of proc(5)'s `stat`.
fn faults() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("a stat without a name")?;
    let minor = fields
        .split_whitespace()
        .nth(7)
        .context("a stat without faults")?;
    Ok(minor.parse()?)
}
