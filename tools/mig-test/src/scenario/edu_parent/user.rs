// SPDX-License-Identifier: GPL-2.0
//! The engine of a card, with this program in place of QEMU: what it copies and to whom, and what
//! happens when memory, a device or the card itself goes while it copies.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_PCI_INTX_IRQ_INDEX as INTX,
    VFIO_PCI_REQ_IRQ_INDEX as REQUEST,
};

use super::identity::Identity;
use super::{MODULE, TYPE};
use crate::event::Outcome;
use crate::health::pinned;
use crate::kernel_log::KernelLog;
use crate::mdev::{parents_with, Mdev, MdevType, PARENTS};
use crate::scenario::bed::{load, unload};
use crate::scenario::conformance::checks::Checks;
use crate::scenario::{until, Ctx};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::irq::Event;
use crate::vfio::migration::State;
use crate::vfio::Mapping;

/// The registers, as in Documentation/examples/edu/device.rs.
const INTERRUPT_STATUS: u64 = 0x24;
const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const COMMAND: u64 = 0x98;
const START: u32 = 1;
const FROM_CARD: u32 = 2;
const INTERRUPT: u32 = 4;
const COPIED: u32 = 0x100;
const BUFFER: u64 = 0x40000;
/// The IOVA of guest memory, and of memory that the device may only read.
const IOVA: u64 = 0x1_0000_0000;
const READ_ONLY: u64 = 0x2_0000_0000;
/// What the kernel logs of an access that the IOMMU has refused: to memory that was unmapped.
const FAULT: &str = "DMAR: [DMA";
/// Pages of both.
const PAGES: usize = 8;
/// The time for a copy: some hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open device of a card. Removed when dropped, device first.
struct User {
    device: Device,
    guest: Arc<Mapping>,
    read_only: Arc<Mapping>,
    mdev: Mdev,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let cards = parents_with(TYPE)?;
    let [first, second] = cards.as_slice() else {
        bail!("the lab VM has two cards, but these are parents: {cards:?}");
    };
    let (before, mut log) = (pinned()?, KernelLog::from_now()?);
    let mut checks = Checks::default();
    ctx.step("copies of any place and length");
    copies(&mut checks, first)?;
    ctx.step("two devices of a card, and one of another");
    together(&mut checks, first, second)?;
    ctx.step("memory that goes while it is copied");
    unmapped(&mut checks, first)?;
    ctx.step("stops, resets and closes while memory is copied");
    stopped(&mut checks, first)?;
    ctx.step("a card that is unbound while it copies");
    unbound(&mut checks, first)?;
    ctx.step("a card whose IOMMU translates nothing");
    if let Some(_without) = Identity::of(first)? {
        copies(&mut checks, first)?;
    }
    checks.equal("pages that stay pinned", pinned()?, before);
    checks.equal("faults", log.lines_with(&[FAULT])?, Vec::new());
    ctx.step("unloading the module");
    unload(MODULE)?;
    load(MODULE)?;
    checks.equal(
        "the parents of the module loaded anew",
        parents_with(TYPE)?,
        cards,
    );
    Ok(checks.outcome())
}

/// Each copy moves the bytes that it names, and no others.
fn copies(checks: &mut Checks, parent: &str) -> Result<()> {
    let user = User::new(parent)?;
    for (from, to, len) in [
        (0, PAGE, PAGE),
        (1, 2 * PAGE + 3, 1),
        (PAGE - 7, 3 * PAGE - 1, 20),
        (100, 4 * PAGE + 4000, PAGE),
        (5 * PAGE - 1, 0, 2),
    ] {
        let what = format!("{len} bytes from {from:#x} to {to:#x}");
        user.fill();
        let mut wanted = user.bytes();
        wanted.copy_within(from..from + len, to);
        user.copy(IOVA + from as u64, BUFFER, len, START)?;
        user.copy(BUFFER, IOVA + to as u64, len, START | FROM_CARD)?;
        checks.that(what, user.bytes() == wanted);
    }
    user.fill();
    let untouched = user.bytes();
    // What the guest cannot have ends without a copy, and the buffer keeps what it has.
    user.copy(IOVA, BUFFER, PAGE, START)?;
    user.copy(1, BUFFER, PAGE, START)?;
    user.copy(BUFFER, READ_ONLY, PAGE, START | FROM_CARD)?;
    user.copy(BUFFER, IOVA + (PAGES * PAGE) as u64, 1, START | FROM_CARD)?;
    checks.that("memory that cannot be written", user.bytes() == untouched);
    user.copy(BUFFER, IOVA + PAGE as u64, PAGE, START | FROM_CARD)?;
    let copied = user.bytes();
    checks.that(
        "the buffer after copies that could not be",
        copied[PAGE..2 * PAGE] == untouched[..PAGE],
    );
    // Reading needs no permission to write.
    user.copy(READ_ONLY, BUFFER, PAGE, START)?;
    user.copy(BUFFER, IOVA, PAGE, START | FROM_CARD)?;
    checks.that(
        "a copy of memory that is only read",
        user.bytes()[..PAGE].iter().all(|byte| *byte == 0x5a),
    );
    Ok(())
}

/// Devices that copy at the same time have each their own, and each its interrupt.
fn together(checks: &mut Checks, first: &str, second: &str) -> Result<()> {
    let users = [User::new(first)?, User::new(first)?, User::new(second)?];
    let events = [Event::new()?, Event::new()?, Event::new()?];
    for (user, event) in users.iter().zip(&events) {
        user.device.connect(INTX, TRIGGER, event.number())?;
        user.fill();
    }
    // The last one copies without an interrupt.
    let interrupts = [INTERRUPT, INTERRUPT, 0];
    for (user, interrupt) in users.iter().zip(interrupts) {
        user.start(IOVA, BUFFER, PAGE, START | interrupt)?;
    }
    for (number, (user, event)) in users.iter().zip(&events).enumerate() {
        user.wait()?;
        let (signals, status) = match interrupts[number] {
            0 => (event.take()?, 0),
            _ => (event.await_signal()?, COPIED),
        };
        checks.equal(
            format!("signals of device {number}"),
            signals,
            u64::from(status != 0),
        );
        checks.equal(
            format!("status of device {number}"),
            user.read(INTERRUPT_STATUS)?,
            status,
        );
        user.write(INTERRUPT_ACKNOWLEDGE, u64::from(COPIED))?;
    }
    for user in &users {
        user.start(BUFFER, IOVA + PAGE as u64, PAGE, START | FROM_CARD)?;
    }
    for (number, user) in users.iter().enumerate() {
        user.wait()?;
        let bytes = user.bytes();
        checks.that(
            format!("what device {number} has copied"),
            bytes[..PAGE] == bytes[PAGE..2 * PAGE],
        );
    }
    Ok(())
}

/// An unmap returns when the engine does not touch the memory any more.
fn unmapped(checks: &mut Checks, parent: &str) -> Result<()> {
    let before = pinned()?;
    let user = User::new(parent)?;
    user.fill();
    user.copy(IOVA, BUFFER, PAGE, START)?;
    for number in 0..8 {
        user.fill();
        let at = IOVA + PAGE as u64;
        user.start(BUFFER, at, PAGE, START | FROM_CARD)?;
        // Each time a little later, so that some come before the pin and some while it copies.
        until(PATIENCE, || Ok(pinned()? > before || number % 2 == 0))?;
        user.device.space.unmap_dma(IOVA, PAGES * PAGE)?;
        let after_unmap = user.bytes();
        user.wait()?;
        let written = after_unmap[PAGE..2 * PAGE] == after_unmap[..PAGE];
        let is_whole = written || after_unmap[PAGE..2 * PAGE] == pattern(PAGE, PAGE)[..];
        checks.that(format!("unmap {number}: half a copy"), is_whole);
        checks.that(
            format!("unmap {number}: a write after it"),
            user.bytes() == after_unmap,
        );
        user.map()?;
    }
    Ok(())
}

/// A stopped device copies nothing, a reset one knows nothing, and a closed one lets go.
fn stopped(checks: &mut Checks, parent: &str) -> Result<()> {
    let user = User::new(parent)?;
    user.fill();
    user.copy(IOVA, BUFFER, PAGE, START)?;
    user.start(BUFFER, IOVA + PAGE as u64, PAGE, START | FROM_CARD)?;
    user.device.set_state(State::Stop)?;
    let at_stop = user.bytes();
    user.start(BUFFER, IOVA + 2 * PAGE as u64, PAGE, START | FROM_CARD)?;
    checks.equal("pages pinned while stopped", pinned()?, 0);
    checks.that("a copy while stopped", user.bytes() == at_stop);
    user.device.set_state(State::Running)?;
    user.wait()?;
    let bytes = user.bytes();
    checks.that(
        "the copy that was ordered while stopped, or before",
        bytes[PAGE..2 * PAGE] == bytes[..PAGE] || bytes[2 * PAGE..3 * PAGE] == bytes[..PAGE],
    );
    user.start(BUFFER, IOVA + PAGE as u64, PAGE, START | FROM_CARD)?;
    user.device.reset()?;
    checks.equal("pages pinned after a reset", pinned()?, 0);
    checks.equal("a command after a reset", user.read(COMMAND)?, 0);
    user.device.enable_bus_master()?;
    user.start(IOVA, BUFFER, PAGE, START)?;
    let User { device, mdev, .. } = user;
    drop(device);
    checks.equal("pages pinned after a close", pinned()?, 0);
    drop(mdev);
    Ok(())
}

/// Unbinding a card asks who has a device of it to let go, stops its engine, and ends then; the
/// card can be bound again.
fn unbound(checks: &mut Checks, parent: &str) -> Result<()> {
    let user = User::new(parent)?;
    user.fill();
    let request = Event::new()?;
    user.device.connect(REQUEST, TRIGGER, request.number())?;
    user.start(IOVA, BUFFER, PAGE, START)?;
    let driver = format!("/sys/bus/pci/drivers/{MODULE}");
    let User { device, mdev, .. } = user;
    let signals = thread::scope(|scope| {
        let unbinding = scope.spawn(|| fs::write(format!("{driver}/unbind"), parent));
        let signals = request.await_signal();
        drop(device);
        let unbound = unbinding.join();
        unbound
            .map_err(|_| anyhow::anyhow!("the unbinding panicked"))?
            .context("unbind the card")?;
        anyhow::Ok(signals?)
    })?;
    checks.that("who is asked to let go", signals > 0);
    checks.that("the device of a card that is gone", !mdev.path().exists());
    let folder = format!("{PARENTS}/{parent}");
    checks.that("the parent that is gone", fs::metadata(&folder).is_err());
    fs::write(format!("{driver}/bind"), parent).context("bind the card again")?;
    let user = User::new(parent)?;
    user.fill();
    user.copy(IOVA, BUFFER, PAGE, START)?;
    user.copy(BUFFER, IOVA + PAGE as u64, PAGE, START | FROM_CARD)?;
    let bytes = user.bytes();
    checks.that(
        "a copy of a card that was bound again",
        bytes[..PAGE] == bytes[PAGE..2 * PAGE],
    );
    Ok(())
}

/// Returns what is at `offset` of filled guest memory.
fn pattern(offset: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at ^ at >> 8).wrapping_mul(37) as u8;
    (offset..offset + len).map(byte).collect()
}

impl User {
    fn new(parent: &str) -> Result<User> {
        let mdev = MdevType::find(parent, TYPE)?.create()?;
        let user = User {
            device: Device::open(mdev.path())?,
            guest: Arc::new(Mapping::anonymous(PAGES * PAGE)?),
            read_only: Arc::new(Mapping::anonymous(PAGES * PAGE)?),
            mdev,
        };
        user.read_only.write(0, &[0x5a; PAGES * PAGE]);
        user.device.enable_bus_master()?;
        user.map()?;
        user.device.space.map_dma(Dma {
            iova: READ_ONLY,
            memory: &user.read_only,
            offset: 0,
            len: PAGES * PAGE,
            access: Access::Read,
        })?;
        Ok(user)
    }

    fn map(&self) -> Result<()> {
        Ok(self.device.space.map_dma(Dma {
            iova: IOVA,
            memory: &self.guest,
            offset: 0,
            len: PAGES * PAGE,
            access: Access::ReadWrite,
        })?)
    }

    fn fill(&self) {
        self.guest.write(0, &pattern(0, PAGES * PAGE));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; PAGES * PAGE];
        self.guest.read(0, &mut bytes);
        bytes
    }

    /// Reads a register of 32 bits. BAR 0 is the first region, at position 0.
    fn read(&self, register: u64) -> Result<u32> {
        let value = self.device.read_u32(register);
        value.with_context(|| format!("read the register {register:#x}"))
    }

    /// Writes a register, of 64 bits from SOURCE to COUNT.
    fn write(&self, register: u64, value: u64) -> Result<(), Errno> {
        let width = if (SOURCE..COMMAND).contains(&register) {
            8
        } else {
            4
        };
        self.device
            .write(register, &value.to_le_bytes()[..width])
            .map(drop)
    }

    /// Orders a copy.
    fn start(&self, source: u64, destination: u64, len: usize, command: u32) -> Result<()> {
        self.write(SOURCE, source)?;
        self.write(DESTINATION, destination)?;
        self.write(COUNT, len as u64)?;
        self.write(COMMAND, command.into())?;
        Ok(())
    }

    /// Waits for the end of a copy.
    fn wait(&self) -> Result<()> {
        let ended = until(PATIENCE, || Ok(self.read(COMMAND)? & START == 0))?;
        ensure!(ended, "the copy does not end");
        Ok(())
    }

    /// Copies, and waits for the end.
    fn copy(&self, source: u64, destination: u64, len: usize, command: u32) -> Result<()> {
        self.start(source, destination, len, command)?;
        self.wait()
    }
}
