// SPDX-License-Identifier: GPL-2.0
//! A BAR with a page of the parent's own: that mapped and trapped accesses reach the hardware, each
//! once, that it is this parent's hardware, and what user space cannot map.
//!
//! The parent is QEMU's `pci-testdev`, which counts writes of one value to one offset. QEMU passes
//! it bytes, whatever the width: <https://www.qemu.org/docs/master/specs/pci-testdev.html>

use anyhow::{bail, ensure, Result};
use rustix::io::Errno;

use super::bed::load;
use super::conformance::checks::Checks;
use super::Ctx;
use crate::event::Outcome;
use crate::kernel_log::KernelLog;
use crate::mdev::{parents_with, Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::State;
use crate::vfio::Mapping;

/// The driver: tools/mig-test/kmod/io_rs.rs.
const MODULE: &str = "io_rs";
const TYPE: &str = "io_rs-1";
/// The parts of BAR 0, which is at position 0 of the file: the parent's page, device memory.
const IO: u64 = 0x1000;
const MEMORY: u64 = 0x2000;
const END: u64 = 0x3000;
/// Fields of the parent's page: which test it does; at which offset it counts, and which value; the
/// count.
const TEST: u64 = 0x00;
const OFFSET: u64 = 0x04;
const VALUE: u64 = 0x08;
const COUNT: u64 = 0x0c;

/// An open card. Removed when dropped, device first.
struct Card {
    device: Device,
    _mdev: Mdev,
}

impl Card {
    fn new(parent: &str) -> Result<Card> {
        let mdev = MdevType::find(parent, TYPE)?.create()?;
        Ok(Card {
            device: Device::open(mdev.path())?,
            _mdev: mdev,
        })
    }

    /// Reads 32 bits of the parent's page, byte by byte, which is how this parent answers.
    fn read(&self, offset: u64) -> Result<u32> {
        let mut bytes = [0; 4];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let place = IO + offset + at as u64;
            let count = self.device.read(place, std::slice::from_mut(byte))?;
            ensure!(count == 1, "a byte at {offset:#x} has {count} bytes");
        }
        Ok(u32::from_le_bytes(bytes))
    }

    /// Has the parent begin to count, from 0; returns the offset at which it does, and the value.
    fn start(&self) -> Result<(u64, u8)> {
        self.device.write(IO + TEST, &[0])?;
        Ok((self.read(OFFSET)?.into(), self.read(VALUE)? as u8))
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let parents = parents_with(TYPE)?;
    let [first, second] = parents.as_slice() else {
        bail!("the lab VM has two pci-testdev, but these are parents: {parents:?}");
    };
    let mut checks = Checks::default();
    ctx.step("what of the BAR can be mapped");
    layout(&mut checks, first)?;
    ctx.step("trapped and mapped accesses");
    accesses(&mut checks, first, second)?;
    ctx.step("I/O memory of another device");
    foreign(&mut checks, first, second)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn layout(checks: &mut Checks, parent: &str) -> Result<()> {
    let card = Card::new(parent)?;
    let wanted = vec![IO..MEMORY, MEMORY..END];
    checks.equal("what can be mapped", card.device.mappable(0)?, wanted);
    for (what, at, len) in [
        ("the registers", 0, PAGE),
        ("registers and I/O memory", 0, 2 * PAGE),
        ("I/O memory and memory", IO, 2 * PAGE),
        ("what is behind", END, PAGE),
    ] {
        let mapped = card.device.map(at, len).map(drop);
        checks.equal(format!("map {what}"), mapped, Err(Errno::INVAL));
    }
    let mut bytes = [0; 8];
    // A register, the parent's page, which answers 0 beyond its fields, device memory.
    for (at, right) in [(0x10, 0x10), (IO + 0xff8, 0), (MEMORY, 0)] {
        let count = card.device.read(at, &mut bytes);
        checks.equal(format!("a read at {at:#x}"), count, Ok(8));
        checks.equal(format!("at {at:#x}"), u64::from_le_bytes(bytes), right);
    }
    Ok(())
}

/// Each write reaches the parent once, whatever its width and however it comes.
fn accesses(checks: &mut Checks, first: &str, second: &str) -> Result<()> {
    let (card, other) = (Card::new(first)?, Card::new(second)?);
    let page: Mapping = card.device.map(IO, PAGE)?;
    let (at, value) = card.start()?;
    other.start()?;
    let mut count = 0;
    for width in [1, 2, 4, 8] {
        let written = card.device.write(IO + at, &[value; 8][..width]);
        count += 1;
        checks.equal(format!("a write of {width} bytes"), written, Ok(width));
        checks.equal(format!("counted: {width} bytes"), card.read(COUNT)?, count);
    }
    for _ in 0..1000 {
        page.write(at as usize, &[value]);
    }
    count += 1000;
    checks.equal("counted: mapped writes", card.read(COUNT)?, count);
    checks.equal("counted by the other parent", other.read(COUNT)?, 0);
    let mut byte = [0];
    page.read(COUNT as usize, &mut byte);
    checks.equal("a mapped read", byte[0], count as u8);
    // Another mdev of the same parent finds the same, and so does one that is opened again.
    let beside = Card::new(first)?;
    checks.equal("counted, as another sees it", beside.read(COUNT)?, count);
    card.device.reset()?;
    page.write(at as usize, &[value]);
    checks.equal("counted after a reset", card.read(COUNT)?, count + 1);
    card.device.set_state(State::Stop)?;
    page.write(at as usize, &[value]);
    checks.equal("counted while stopped", card.read(COUNT)?, count + 2);
    let Card { device, _mdev } = card;
    drop(device);
    // The mapping has the file, and so the device, open.
    page.write(at as usize, &[value]);
    checks.equal(
        "counted with the file closed",
        beside.read(COUNT)?,
        count + 3,
    );
    drop(page);
    let device = Device::open(_mdev.path())?;
    let page = device.map(IO, PAGE)?;
    page.write(at as usize, &[value]);
    checks.equal(
        "counted by one opened again",
        beside.read(COUNT)?,
        count + 4,
    );
    Ok(())
}

/// A driver that passes on the I/O memory of another device than the mdev's parent.
fn foreign(checks: &mut Checks, first: &str, second: &str) -> Result<()> {
    let mut refused = 0;
    for parent in [first, second] {
        let mdev = MdevType::find(parent, "io_rs-2")?.create()?;
        let mut log = KernelLog::from_now()?;
        let opened = Device::open(mdev.path()).map(drop);
        let said = log.lines_with(&["I/O memory of another device"])?.len();
        checks.equal("lines about it", said, usize::from(opened.is_err()));
        refused += u32::from(opened.is_err());
    }
    checks.equal("mdevs whose open is refused", refused, 1);
    Ok(())
}
