// SPDX-License-Identifier: GPL-2.0
//! The pre-check of a migration: what two types show in sysfs, compared, must come to the result
//! that a destination comes to with the stream itself, in the same words.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mdev_model::stream::Compatibility;
use mgpu_model::uapi::BAR_VRAM;
use rustix::io::Errno;

use super::bed::load;
use super::conformance::checks::Checks;
use super::Ctx;
use crate::compat::{of_type, stop_phase};
use crate::event::Outcome;
use crate::kernel_log::KernelLog;
use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::migration::State;

/// Parents and their types whose streams are the SDK's.
const TYPES: [(&str, &str); 5] = [
    ("mtty_rs", "mtty-1"),
    ("mtty_rs", "mtty-2"),
    ("mgpu_rs", "mgpu-16"),
    ("mgpu_rs", "mgpu-64"),
    ("mgpu_rs", "mgpu-256"),
];
/// A type whose stream has no match data.
const WITHOUT: (&str, &str) = ("mtty_rs", "mtty-1-compat");

/// An open device of a type, what sysfs says of it, and what it saves.
struct Side {
    name: &'static str,
    device: Device,
    /// Removed after the device is closed: the removal waits for that.
    _mdev: Mdev,
    says: Compatibility,
    stream: Vec<u8>,
}

fn of_mdev(mdev: &Mdev, attribute: &str) -> PathBuf {
    mdev.path().join("migration").join(attribute)
}

fn errno(result: std::io::Result<String>) -> Result<String, Option<Errno>> {
    result.map_err(|error| Errno::from_io_error(&error))
}

impl Side {
    fn new(checks: &mut Checks, of: (&str, &'static str)) -> Result<Side> {
        let mdev = MdevType::find(of.0, of.1)?.create()?;
        let text = fs::read_to_string(of_mdev(&mdev, "match_data")).context("match_data")?;
        let of_type = fs::read_to_string(of_type(of.0, of.1)).context("the type's match_data")?;
        checks.equal(
            format!("{}: match data of mdev and type", of.1),
            &text,
            &of_type,
        );
        let size = of_mdev(&mdev, "stop_copy_size");
        let closed = errno(fs::read_to_string(&size));
        checks.refused(
            "stop_copy_size of a closed device",
            closed,
            Some(Errno::NODEV),
        );
        let device = Device::open(mdev.path())?;
        let open = errno(fs::read_to_string(&size));
        let right = format!("{}\n", device.stop_copy_length()?);
        checks.equal("stop_copy_size of an open device", open, Ok(right));
        device.set_state(State::Stop)?;
        let file = device.set_state(State::StopCopy)?.context("no data file")?;
        let (stream, _) = file.read_to_end(1 << 16)?;
        let says = text
            .parse()
            .ok()
            .context("match data that cannot be read")?;
        Ok(Side {
            name: of.1,
            device,
            _mdev: mdev,
            says,
            stream,
        })
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    for module in ["vfio_iommu_type1", "mtty_rs", "mgpu_rs"] {
        load(module)?;
    }
    let mut checks = Checks::default();
    let sides = TYPES.map(|of| Side::new(&mut checks, of));
    let sides = sides.into_iter().collect::<Result<Vec<Side>>>()?;
    for destination in &sides {
        ctx.step(format!("what {} loads", destination.name));
        for source in &sides {
            pair(&mut checks, source, destination)?;
        }
    }
    ctx.step("a stream without match data");
    let without = errno(fs::read_to_string(of_type(WITHOUT.0, WITHOUT.1)));
    checks.refused("match data of the type", without, Some(Errno::NODATA));
    let mdev = MdevType::find(WITHOUT.0, WITHOUT.1)?.create()?;
    let without = errno(fs::read_to_string(of_mdev(&mdev, "match_data")));
    checks.refused("match data of the mdev", without, Some(Errno::NODATA));
    ctx.step("the length of the stop phase");
    length(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// What the command says of the stop phase: of a closed device, an open one, and one whose first
/// pass of PRE_COPY was read.
fn length(checks: &mut Checks) -> Result<()> {
    let mdev = MdevType::find("mgpu_rs", "mgpu-16")?.create()?;
    let says = |rate| stop_phase(&mdev.uuid, rate);
    let would_transfer = |size: u64| {
        let mdev = &mdev.uuid;
        format!("{mdev} would transfer {size} bytes if it was stopped now\n")
    };
    let closed = format!(
        "{} is not in use, so it has nothing to transfer\n",
        mdev.uuid
    );
    checks.equal("a closed device", says(None)?, closed);
    let device = Device::open(mdev.path())?;
    let vram = device.region(BAR_VRAM as u32, None)?;
    device.write(vram.offset, &[1])?;
    let size = device.stop_copy_length()?;
    let now = would_transfer(size);
    checks.equal("an open device", says(None)?, now.clone());
    let rate = "that has changed by +0 bytes a second in the last 1 s\n";
    checks.equal("a rate", says(Some(1))?, format!("{now}{rate}"));
    let file = device.set_state(State::PreCopy)?.context("no data file")?;
    let begun = device.stop_copy_length()?;
    file.read_to_end(1 << 16)?;
    let left = device.stop_copy_length()?;
    checks.that("PRE_COPY leaves as much as there was", left < begun);
    checks.equal(
        "after a pass of PRE_COPY",
        says(None)?,
        would_transfer(left),
    );
    checks.equal(
        "what is no mdev",
        stop_phase("mgpu_rs/mgpu-16", None)?,
        String::new(),
    );
    let without = stop_phase("mgpu_rs/mgpu-16", Some(1));
    checks.that("a rate of what is no mdev", without.is_err());
    Ok(())
}

/// Compares what sysfs and the stream itself say of a source and a destination.
fn pair(checks: &mut Checks, source: &Side, destination: &Side) -> Result<()> {
    let what = format!("{} into {}", source.name, destination.name);
    let foretold = destination.says.mismatch(&source.says);
    let device = &destination.device;
    device.reset()?;
    device.set_state(State::Stop)?;
    let file = device.set_state(State::Resuming)?.context("no data file")?;
    let mut log = KernelLog::from_now()?;
    let loaded = file
        .write_split(&source.stream, &[4096])
        .and_then(|()| device.set_state(State::Stop).map(drop));
    checks.equal(
        format!("{what}: loaded"),
        loaded.is_ok(),
        foretold.is_none(),
    );
    let said: Vec<_> = log.refusals()?.into_iter().collect();
    let foretold: Vec<_> = foretold.iter().map(ToString::to_string).collect();
    checks.equal(format!("{what}: the kernel log"), said, foretold);
    Ok(())
}
