// SPDX-License-Identifier: GPL-2.0
//! The speed of saving the toy GPU's VRAM in STOP_COPY, compared with a memfd with the same bytes
//! that is read by the same calls; and the bytes that PRE_COPY leaves for STOP_COPY.

use std::os::fd::AsFd;

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::BAR_VRAM;
use rustix::fs::{memfd_create, seek, MemfdFlags, SeekFrom};
use rustix::io::{read, write, Errno};
use serde::Serialize;

use super::clock::{now, ratio};
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::scenario::bed::load;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::{DataFile, State};
use crate::vfio::Mapping;

/// The card.
const MODULE: &str = "mgpu_rs";
const TYPE: &str = "mgpu-64";
const VRAM: usize = 64 << 20;
/// Bytes of a read, as in QEMU.
const READ: usize = 1 << 20;
/// Times that everything is read.
const TIMES: usize = 3;
/// One of this number of pages is written after PRE_COPY.
const ONE_IN: usize = 50;
/// The minimum speed of the device, relative to the memfd.
const BOUND: f64 = 0.8;

/// The figures.
#[derive(Serialize)]
struct Report {
    /// Bytes of VRAM, all of them written.
    vram_bytes: usize,
    /// Bytes of STOP_COPY without PRE_COPY.
    stop_copy_alone_bytes: usize,
    /// The time to read them: nanoseconds, or instructions.
    stop_copy_ns: u64,
    /// The same for the memfd.
    memfd_ns: u64,
    /// The ratio of the speed of the device's file to that of the memfd.
    speed_ratio: f64,
    /// Bytes of PRE_COPY.
    pre_copy_bytes: usize,
    /// Bytes written after it.
    dirtied_bytes: usize,
    /// Bytes of STOP_COPY after PRE_COPY.
    stop_copy_bytes: usize,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let mdev = MdevType::find(MODULE, TYPE)?.create()?;
    let device = Device::open(mdev.path())?;
    let vram = device.map(device.region(BAR_VRAM as u32, None)?.offset, VRAM)?;
    write_page(&vram, 0..VRAM / PAGE, 1);

    let mut buffer = vec![0; READ];
    ctx.step("VRAM without PRE_COPY");
    let (alone, stop_copy) = fastest(|| {
        let file = enter(&device, State::StopCopy)?;
        let took = drain(&file, &mut buffer)?;
        device.set_state(State::Running)?;
        Ok(took)
    })?;
    ctx.step("a memfd");
    let file = memfd_create("bench", MemfdFlags::CLOEXEC)?;
    let mut left = alone;
    while left > 0 {
        buffer.fill(left as u8);
        left -= write(&file, &buffer[..READ.min(left)])?;
    }
    let (bytes, memfd) = fastest(|| {
        seek(&file, SeekFrom::Start(0))?;
        drain(&file, &mut buffer)
    })?;
    ensure!(bytes == alone, "the memfd has {bytes} bytes of {alone}");

    ctx.step("VRAM with PRE_COPY");
    let file = enter(&device, State::PreCopy)?;
    let (before, _) = drain(&file, &mut buffer)?;
    let dirtied = write_page(&vram, (0..VRAM / PAGE).step_by(ONE_IN), 2);
    device.set_state(State::StopCopy)?;
    let (after, _) = drain(&file, &mut buffer)?;

    let report = Report {
        vram_bytes: VRAM,
        stop_copy_alone_bytes: alone,
        stop_copy_ns: stop_copy,
        memfd_ns: memfd,
        speed_ratio: ratio(memfd, stop_copy),
        pre_copy_bytes: before,
        dirtied_bytes: dirtied,
        stop_copy_bytes: after,
    };
    let outcome = judge(&report);
    ctx.report(report)?;
    Ok(outcome)
}

fn judge(report: &Report) -> Outcome {
    // Room for headers, registers and configuration space.
    let most = report.dirtied_bytes + report.dirtied_bytes / 20 + PAGE;
    let reason = if report.speed_ratio < BOUND {
        format!(
            "VRAM leaves at {} of a memfd's speed, less than {BOUND}",
            report.speed_ratio
        )
    } else if report.stop_copy_bytes > most {
        format!(
            "{} bytes were written after PRE_COPY, and STOP_COPY carries {}",
            report.dirtied_bytes, report.stop_copy_bytes
        )
    } else {
        return Outcome::Passed;
    };
    Outcome::Failed { reason }
}

/// Writes to pages of VRAM; returns the number of bytes of these pages.
fn write_page(vram: &Mapping, pages: impl IntoIterator<Item = usize>, seed: u64) -> usize {
    let mut bytes = 0;
    for page in pages {
        let word = (page as u64 + 1).wrapping_mul(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        vram.write(page * PAGE, &word.to_ne_bytes().repeat(PAGE / 8));
        bytes += PAGE;
    }
    bytes
}

fn enter(device: &Device, state: State) -> Result<DataFile> {
    let file = device.set_state(state)?;
    file.with_context(|| format!("{state:?} came without a file"))
}

/// Reads to the end, or to the end for now; returns the number of bytes, and the time.
fn drain(file: impl AsFd, buffer: &mut [u8]) -> Result<(usize, u64)> {
    let start = now();
    let mut bytes = 0;
    loop {
        match read(&file, &mut *buffer) {
            Ok(0) | Err(Errno::NOMSG) => return Ok((bytes, now() - start)),
            Ok(count) => bytes += count,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the minimum time of several readings.
fn fastest(mut reading: impl FnMut() -> Result<(usize, u64)>) -> Result<(usize, u64)> {
    let mut best = reading()?;
    for _ in 1..TIMES {
        best.1 = best.1.min(reading()?.1);
    }
    Ok(best)
}
