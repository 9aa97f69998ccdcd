// SPDX-License-Identifier: GPL-2.0
//! The example with a ring in guest memory: what it pins for the ring and when, memory that goes
//! and comes, a move between two requests, and the attribute of its own in sysfs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;

use super::bed::load;
use super::conformance::checks::Checks;
use super::conformance::session::load as load_stream;
use super::{until, Ctx};
use crate::event::Outcome;
use crate::health::pinned;
use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::migration::State;
use crate::vfio::Mapping;

/// The registers, as in Documentation/examples/digest/card.rs. BAR 0 is at position 0 of the file.
const RING: u64 = 0x00;
const ENTRIES: u64 = 0x08;
const HEAD: u64 = 0x0c;
const TAIL: u64 = 0x10;
const PENDING: u64 = 0x14;
const STATUS: u64 = 0x18;
const DROPPED: u64 = 0x1c;
const DONE: u32 = 1;
const LOST: u32 = 2;
/// Of a request.
const SUMMED: u32 = 1;
const FAILED: u32 = 2;

/// Where guest memory is, and its pages.
const IOVA: u64 = 0x1_0000_0000;
const PAGES: usize = 8;
/// Where the ring is in it, of so many entries: on three pages, the second entry on the first two.
const AT: usize = PAGE - 40;
const LEN: u32 = 200;
const ENTRY: usize = 24;
/// Where data is.
const DATA: usize = 5 * PAGE;
/// "123456789", and its CRC32C.
const TEXT: &[u8] = b"123456789";
const SUM: u32 = 0xe306_9283;
/// The time for a request: some thousand times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open card that reaches guest memory. Removed when dropped, device first.
struct Guest {
    device: Device,
    memory: Arc<Mapping>,
    mdev: Mdev,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load("digest")?;
    let mut checks = Checks::default();
    let before = pinned()?;
    ctx.step("requests around the ring");
    requests(&mut checks)?;
    ctx.step("memory that goes");
    memory_that_goes(&mut checks)?;
    ctx.step("a move between two requests");
    moved(&mut checks)?;
    ctx.step("a stream of version 1");
    older(&mut checks)?;
    ctx.step("the attribute in sysfs");
    attribute(&mut checks)?;
    checks.equal("pages that stay pinned", pinned()?, before);
    Ok(checks.outcome())
}

/// All entries twice, so that the ring is gone around, in lots of 7.
fn requests(checks: &mut Checks) -> Result<()> {
    let nothing = pinned()?;
    let guest = Guest::new()?;
    guest.start()?;
    let mut tail = 0;
    for lot in 0..2 * LEN / 7 {
        for _ in 0..7 {
            guest.request(tail, DATA, TEXT.len() as u32);
            tail = (tail + 1) % LEN;
        }
        guest.serve(tail)?;
        for index in (0..7).map(|back| (tail + LEN - 1 - back) % LEN) {
            let found = guest.answer(index);
            checks.equal(format!("lot {lot}, {index}"), found, (SUMMED, SUM));
        }
    }
    checks.equal("HEAD", guest.read(HEAD)?, tail);
    // The engine lets go of the ring in a step after the last request's.
    let released = until(PATIENCE, || Ok(pinned()? == nothing))?;
    checks.that("an idle card keeps pages pinned", released);
    guest.request(tail, DATA, 0);
    guest.request((tail + 1) % LEN, PAGES * PAGE, 1);
    guest.serve((tail + 2) % LEN)?;
    for index in [tail, (tail + 1) % LEN] {
        checks.equal("what fails", guest.answer(index), (FAILED, 0));
    }
    Ok(())
}

/// The ring's page is unmapped after a request, and mapped again.
fn memory_that_goes(checks: &mut Checks) -> Result<()> {
    let guest = Guest::new()?;
    guest.start()?;
    guest.request(0, DATA, TEXT.len() as u32);
    guest.serve(1)?;
    guest.device.space.unmap_dma(IOVA, PAGES * PAGE)?;
    guest.write(TAIL, 3)?;
    guest.wait()?;
    checks.equal("without memory", guest.read(STATUS)?, DONE | LOST);
    checks.equal("HEAD without memory", guest.read(HEAD)?, 3);
    checks.equal("DROPPED", guest.read(DROPPED)?, 2);
    guest.map()?;
    guest.request(3, DATA, TEXT.len() as u32);
    guest.serve(4)?;
    checks.equal("with memory again", guest.answer(3), (SUMMED, SUM));
    checks.equal("what was lost", guest.answer(2), (0, 0));
    Ok(())
}

/// A card that has served one of two requests goes on with the other one after a move, on a card
/// that has worked with a ring somewhere else.
fn moved(checks: &mut Checks) -> Result<()> {
    let (source, other) = (Guest::new()?, Guest::new()?);
    source.start()?;
    source.request(0, DATA, TEXT.len() as u32);
    source.serve(1)?;
    source.device.set_state(State::RunningP2p)?;
    source.request(1, DATA, TEXT.len() as u32);
    // A device that is quiesced keeps it for later.
    source.write(TAIL, 2)?;
    checks.equal("requests of a quiesced card", source.read(PENDING)?, 1);
    source.device.set_state(State::Stop)?;
    let file = source.device.set_state(State::StopCopy)?;
    let (stream, _) = file.context("no data file")?.read_to_end(1 << 16)?;
    checks.equal("an answer of a quiesced card", source.answer(1), (0, 0));

    other.device.write(RING, &(IOVA + 0x800).to_le_bytes())?;
    other.write(ENTRIES, 2)?;
    other.serve(1)?;
    let mut bytes = vec![0; PAGES * PAGE];
    source.memory.read(0, &mut bytes);
    other.memory.write(0, &bytes);
    load_stream(&other.device, &stream)?;
    other.device.set_state(State::Running)?;
    other.wait()?;
    checks.equal("the answer after a move", other.answer(1), (SUMMED, SUM));
    checks.equal("HEAD after a move", other.read(HEAD)?, 2);
    Ok(())
}

/// A stream that the driver has saved in version 1, with a request that is pending.
fn older(checks: &mut Checks) -> Result<()> {
    const STREAM: &str =
        include_str!("../../../../Documentation/examples/digest/tests/version-1.hex");
    let digits: Vec<u8> = STREAM.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("a stream in hex"));
    let stream = bytes.collect::<Result<Vec<u8>>>()?;
    let guest = Guest::new()?;
    guest.request(1, DATA, TEXT.len() as u32);
    load_stream(&guest.device, &stream)?;
    guest.device.set_state(State::Running)?;
    guest.wait()?;
    checks.equal("the answer to version 1", guest.answer(1), (SUMMED, SUM));
    checks.equal("HEAD of version 1", guest.read(HEAD)?, 2);
    checks.equal("DROPPED of version 1", guest.read(DROPPED)?, 0);
    // A driver of version 1 refuses what this one saves, before it takes anything of it.
    let data = fs::read_to_string(guest.mdev.path().join("migration/match_data"))?;
    let has = |line| data.lines().any(|other| other == line);
    for line in ["version 2", "readable_by 2", "oldest 1"] {
        checks.that(format!("no {line} in match_data"), has(line));
    }
    Ok(())
}

/// What is read, what is refused, and that it is the mdev's and not the open device's.
fn attribute(checks: &mut Checks) -> Result<()> {
    let guest = Guest::new()?;
    let file = guest.mdev.path().join("digest/served");
    let value = || fs::read_to_string(&file);
    let errno = |result: io::Result<()>| result.err().and_then(|e| Errno::from_io_error(&e));
    checks.equal("a new card", value()?.as_str(), "0\n");
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    checks.equal("its mode", mode, 0o644);
    guest.start()?;
    (0..3).for_each(|index| guest.request(index, DATA, TEXT.len() as u32));
    guest.serve(3)?;
    checks.equal("three requests", value()?.as_str(), "3\n");
    for (what, text) in [
        ("1", &b"1"[..]),
        ("no UTF-8", b"\xff\n"),
        ("nothing", b"\n"),
    ] {
        let answer = errno(fs::write(&file, text));
        checks.equal(format!("write of {what}"), answer, Some(Errno::INVAL));
    }
    let Guest { device, mdev, .. } = guest;
    drop(device);
    checks.equal("a closed card", value()?.as_str(), "3\n");
    for text in ["0", "0\n"] {
        checks.equal("write of 0", errno(fs::write(&file, text)), None);
        checks.equal("after it", value()?.as_str(), "0\n");
    }
    let folder: PathBuf = mdev.path().join("digest");
    drop(mdev);
    checks.that("the folder of a card that is gone", !folder.exists());
    // mtty_rs has no attribute of its own, and so no folder.
    load("mtty_rs")?;
    let serial = MdevType::find("mtty_rs", "mtty-1")?.create()?;
    let folder = serial.path().join("mtty_rs");
    checks.that("a folder without attributes", !folder.exists());
    Ok(())
}

impl Guest {
    fn new() -> Result<Guest> {
        let mdev = MdevType::find("digest", "digest-1")?.create()?;
        let guest = Guest {
            device: Device::open(mdev.path())?,
            memory: Arc::new(Mapping::anonymous(PAGES * PAGE)?),
            mdev,
        };
        guest.memory.write(DATA, TEXT);
        guest.device.enable_bus_master()?;
        guest.map()?;
        Ok(guest)
    }

    fn map(&self) -> Result<()> {
        Ok(self.device.space.map_dma(Dma {
            iova: IOVA,
            memory: &self.memory,
            offset: 0,
            len: PAGES * PAGE,
            access: Access::ReadWrite,
        })?)
    }

    /// Tells the card where the ring is.
    fn start(&self) -> Result<()> {
        let ring = IOVA + AT as u64;
        self.device.write(RING, &ring.to_le_bytes())?;
        self.write(ENTRIES, LEN)
    }

    /// Puts a request into the ring.
    fn request(&self, index: u32, data: usize, len: u32) {
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&(IOVA + data as u64).to_le_bytes());
        entry[8..12].copy_from_slice(&len.to_le_bytes());
        self.memory.write(AT + index as usize * ENTRY, &entry);
    }

    /// Returns the status and the sum of a request.
    fn answer(&self, index: u32) -> (u32, u32) {
        let mut bytes = [0; 4];
        let [status, sum] = [12, 16].map(|offset| {
            let at = AT + index as usize * ENTRY + offset;
            self.memory.read(at, &mut bytes);
            u32::from_le_bytes(bytes)
        });
        (status, sum)
    }

    /// Has the card serve the requests before `tail`.
    fn serve(&self, tail: u32) -> Result<()> {
        self.write(STATUS, DONE | LOST)?;
        self.write(TAIL, tail)?;
        self.wait()
    }

    /// Waits until no request is pending.
    fn wait(&self) -> Result<()> {
        let served = until(PATIENCE, || Ok(self.read(PENDING)? == 0))?;
        ensure!(served, "requests are pending after {PATIENCE:?}");
        Ok(())
    }

    fn read(&self, register: u64) -> Result<u32> {
        let value = self.device.read_u32(register);
        value.with_context(|| format!("read the register {register:#x}"))
    }

    fn write(&self, register: u64, value: u32) -> Result<()> {
        let count = self.device.write(register, &value.to_le_bytes())?;
        ensure!(count == 4, "register {register:#x} takes {count} bytes");
        Ok(())
    }
}
