// SPDX-License-Identifier: GPL-2.0
//! The speed of transferring a device's state through protocol v1's window, mapped and trapped,
//! compared with the data file of v2: a GPU with all of its VRAM in use.
//!
//! If the VM's clock counts instructions, the measure is instructions and the bytes of string
//! instructions, which copy memory. Otherwise it is time.

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::BAR_VRAM;
use serde::Serialize;

use super::clock::{now, ratio};
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::mgpu::card::{Card, MODULE, TYPE, VRAM};
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::{bits, MigrationRegion, Way};

/// The bytes of one transfer through a data file or the window: those that QEMU reads, and those
/// that the window holds.
const CHUNK: usize = 1 << 20;
/// The number of measurements of each, except slow ones.
const TIMES: u64 = 12;
/// The minimum speed of a mapped window, relative to a trapped one.
const FASTER_THAN_TRAPPED: f64 = 20.0;
/// The minimum speed of a mapped window, relative to a data file.
const FAST_AS_FILE: f64 = 0.8;

/// The peer of a mapped window.
const TRAPPED: &str = "trapped window";
const FILE: &str = "data file";

/// One line of the table.
#[derive(Serialize)]
struct Row {
    /// The measured operation: the window only, or a session with all work of the driver.
    what: &'static str,
    mapped_us: u64,
    peer: &'static str,
    peer_us: u64,
    /// The speed of the mapped window, relative to its peer.
    times_as_fast: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let kind = MdevType::find(MODULE, TYPE)?;
    let (from, to) = (kind.create()?, kind.create()?);
    let (source, destination) = (Device::open(from.path())?, Device::open(to.path())?);
    let region = |device| Device::migration_region(device)?.context("there is no region");
    let (out, into) = (region(&source)?, region(&destination)?);
    let base = source.region(BAR_VRAM as u32, None)?.offset;
    let pattern: Vec<u8> = (0..VRAM).map(|at| (at % 251) as u8 + 1).collect();
    source.map(base, VRAM)?.write(0, &pattern);
    // Room for all of it and some more, in use before anything is measured.
    let mut stream = vec![1; VRAM + VRAM / 8];
    let length = file_save(&source, &mut stream)?;
    let saved = stream[..length].to_vec();
    let mut stream_by_file = stream.clone();

    ctx.step("the window");
    let read = [(Way::Mapped, TIMES), (Way::Trapped, 1)]
        .map(|(way, times)| least_of(times, || read_window(&out, way, &mut stream)));
    let [mapped, trapped] = read;
    let reading = row("reading 16 MiB", mapped?, TRAPPED, trapped?);
    let written = [(Way::Mapped, TIMES), (Way::Trapped, 1)]
        .map(|(way, times)| least_of(times, || write_window(&into, way, &saved)));
    let [mapped, trapped] = written;
    let writing = row("writing 16 MiB", mapped?, TRAPPED, trapped?);

    ctx.step("whole sessions");
    let [mapped, file] = by_turns(
        || save(&out, &mut stream).map(drop),
        || file_save(&source, &mut stream_by_file).map(drop),
    )?;
    ensure!(stream[..length] == saved[..], "another stream");
    let saving = row("saving", mapped, FILE, file);
    let [mapped, file] = by_turns(|| load(&into, &saved), || file_load(&destination, &saved))?;
    let loading = row("loading", mapped, FILE, file);
    let rows = [reading, writing, saving, loading];

    let mut checks = Checks::default();
    for row in &rows {
        let bound = match row.peer {
            TRAPPED => FASTER_THAN_TRAPPED,
            _ => FAST_AS_FILE,
        };
        let Row {
            what,
            peer,
            times_as_fast,
            ..
        } = row;
        checks.that(
            format!("{what} is {times_as_fast} times as fast as through a {peer}"),
            *times_as_fast >= bound,
        );
    }
    ctx.report(rows)?;
    Ok(checks.outcome())
}

fn row(what: &'static str, mapped: u64, peer: &'static str, peer_time: u64) -> Row {
    Row {
        what,
        mapped_us: mapped / 1000,
        peer,
        peer_us: peer_time / 1000,
        times_as_fast: ratio(peer_time, mapped),
    }
}

/// Returns the minimum time of each of two calls, which alternate so that other load of the machine
/// affects both.
fn by_turns(
    mut first: impl FnMut() -> Result<()>,
    mut second: impl FnMut() -> Result<()>,
) -> Result<[u64; 2]> {
    let mut least = [u64::MAX; 2];
    for _ in 0..TIMES {
        let start = now();
        first()?;
        let between = now();
        second()?;
        least = [least[0].min(between - start), least[1].min(now() - between)];
    }
    Ok(least)
}

/// Returns the minimum of a number of results of `measure`.
fn least_of(times: u64, mut measure: impl FnMut() -> Result<u64>) -> Result<u64> {
    (0..times).try_fold(u64::MAX, |least, _| Ok(least.min(measure()?)))
}

/// Returns the time to read all chunks of a session, without the time to save them.
fn read_window(region: &MigrationRegion, way: Way, bytes: &mut [u8]) -> Result<u64> {
    let mut time = 0;
    region.set_state(bits::STOP_COPY)?;
    while region.pending()? > 0 {
        let size = region.data_size()? as usize;
        let bytes = bytes.get_mut(..size).context("a chunk too long")?;
        let start = now();
        region.read_window(way, bytes)?;
        time += now() - start;
    }
    region.set_state(bits::RUNNING)?;
    Ok(time)
}

/// Returns the time to write all chunks of a session, without the time to load them.
fn write_window(region: &MigrationRegion, way: Way, stream: &[u8]) -> Result<u64> {
    let mut time = 0;
    region.set_state(bits::RESUMING)?;
    for bytes in stream.chunks(CHUNK) {
        let start = now();
        region.write_window(way, bytes)?;
        time += now() - start;
        region.set_data_size(bytes.len() as u64)?;
    }
    region.set_state(bits::RUNNING)?;
    Ok(time)
}

/// Saves through the data file; returns the number of bytes.
fn file_save(device: &Device, stream: &mut [u8]) -> Result<usize> {
    device.set_state(State::Stop)?;
    let file = device.set_state(State::StopCopy)?;
    let file = file.context("STOP_COPY came without a file")?;
    let mut length = 0;
    loop {
        let end = stream.len().min(length + CHUNK);
        ensure!(end > length, "the stream does not end");
        match file.read(&mut stream[length..end])? {
            0 => break,
            some => length += some,
        }
    }
    device.set_state(State::Running)?;
    Ok(length)
}

/// Saves through the window; returns the number of bytes.
fn save(region: &MigrationRegion, stream: &mut [u8]) -> Result<usize> {
    region.set_state(bits::STOP_COPY)?;
    let mut length = 0;
    while region.pending()? > 0 {
        ensure!(region.data_offset()? == region.start, "a chunk elsewhere");
        let size = region.data_size()? as usize;
        let room = stream.get_mut(length..length + size);
        region.read_window(Way::Mapped, room.context("the stream does not end")?)?;
        length += size;
    }
    region.set_state(bits::RUNNING)?;
    Ok(length)
}

fn file_load(device: &Device, stream: &[u8]) -> Result<()> {
    device.set_state(State::Stop)?;
    let file = device.set_state(State::Resuming)?;
    let file = file.context("RESUMING came without a file")?;
    file.write_split(stream, &[CHUNK])?;
    device.set_state(State::Running)?;
    Ok(())
}

fn load(region: &MigrationRegion, stream: &[u8]) -> Result<()> {
    region.set_state(bits::RESUMING)?;
    region.load(Way::Mapped, stream, &[CHUNK])?;
    region.set_state(bits::RUNNING)?;
    Ok(())
}
