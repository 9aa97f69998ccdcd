// SPDX-License-Identifier: GPL-2.0
//! One stream, two protocols: a stream that one protocol saved must load through the other, for
//! both sample drivers.

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::BAR_VRAM;

use super::capture;
use crate::event::Outcome;
use crate::mdev::{Mdev, MdevType};
use crate::scenario::bed::{load, MTTY_RS, ONE_PORT};
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::session;
use crate::scenario::mgpu::card;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::{bits, Way};

/// Bytes of VRAM that are not zero: less than all of it, for a trapped window is slow.
const VRAM: usize = 1 << 20;
/// The scratch register of a serial card, behind its first BAR's beginning.
const SCRATCH: u64 = 7;

/// The way in which a stream is saved or loaded.
#[derive(Debug, Clone, Copy)]
enum By {
    V1(Way),
    V2,
}

const ALL: [By; 3] = [By::V1(Way::Mapped), By::V1(Way::Trapped), By::V2];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    let mut checks = Checks::default();
    for (parent, kind) in [(MTTY_RS.parent, ONE_PORT), (card::MODULE, card::TYPE)] {
        ctx.step(format!("a device of type {kind}"));
        load(parent)?;
        let kind = MdevType::find(parent, kind)?;
        let (from, to) = (kind.create()?, kind.create()?);
        cross(&mut checks, &from, &to)?;
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn cross(checks: &mut Checks, from: &Mdev, to: &Mdev) -> Result<()> {
    let source = Device::open(from.path())?;
    let marks = mark(&source)?;
    let first = save(&source, By::V2)?;
    for out in ALL {
        let stream = save(&source, out)?;
        checks.that(format!("saved by {out:?}, it differs"), stream == first);
        for into in ALL {
            let what = format!("saved by {out:?}, loaded by {into:?}");
            // A new one each time, so that nothing of the last stream is in it.
            let destination = Device::open(to.path())?;
            load_by(&destination, into, &stream).context(what.clone())?;
            checks.that(
                format!("{what}: another state"),
                read(&destination)? == marks,
            );
            let again = save(&destination, By::V2)?;
            checks.that(format!("{what}, saved again: it differs"), again == first);
        }
    }
    let stream = save_after_another(&source, first.len())?;
    for into in ALL {
        let what = format!("behind a session that was given up, loaded by {into:?}");
        let destination = Device::open(to.path())?;
        load_by(&destination, into, &stream).context(what.clone())?;
        let same = read(&destination)? == marks;
        checks.that(format!("{what}: another state"), same);
    }
    Ok(())
}

/// Returns a stream of a session that is abandoned after its first chunk, and a complete session.
fn save_after_another(device: &Device, length: usize) -> Result<Vec<u8>> {
    let region = device.migration_region()?.context("there is no region")?;
    let mut stream = Vec::new();
    region.set_state(bits::PRE_COPY)?;
    region.pending()?;
    let given_up = region.take_chunk(Way::Mapped, &mut stream)?;
    ensure!(
        (1..length).contains(&given_up),
        "a first chunk of {given_up} bytes"
    );
    region.set_state(bits::RUNNING)?;
    stream.extend(capture(&region, Way::Mapped)?);
    Ok(stream)
}

fn is_gpu(device: &Device) -> Result<bool> {
    Ok(device.region(BAR_VRAM as u32, None)?.size == card::VRAM as u64)
}

/// Gives a device a state that can be told from that of a new one, and returns it.
fn mark(device: &Device) -> Result<Vec<u8>> {
    if is_gpu(device)? {
        let base = device.region(BAR_VRAM as u32, None)?.offset;
        // A pattern that does not repeat with any power of two.
        let pattern: Vec<u8> = (0..VRAM).map(|at| (at % 251) as u8 + 1).collect();
        device.map(base, VRAM)?.write(0, &pattern);
    } else {
        device.write_byte(SCRATCH, 0x3d)?;
    }
    read(device)
}

/// What [`mark`] has changed.
fn read(device: &Device) -> Result<Vec<u8>> {
    if is_gpu(device)? {
        let base = device.region(BAR_VRAM as u32, None)?.offset;
        let mut bytes = vec![0; VRAM];
        device.map(base, VRAM)?.read(0, &mut bytes);
        Ok(bytes)
    } else {
        Ok(vec![device.read_byte(SCRATCH)?])
    }
}

fn save(device: &Device, by: By) -> Result<Vec<u8>> {
    match by {
        By::V1(way) => {
            let region = device.migration_region()?.context("there is no region")?;
            capture(&region, way)
        }
        By::V2 => session::capture(device),
    }
}

fn load_by(device: &Device, by: By, stream: &[u8]) -> Result<()> {
    match by {
        By::V1(way) => {
            let region = device.migration_region()?.context("there is no region")?;
            region.set_state(bits::RESUMING)?;
            region.load(way, stream, &[100_000])?;
            region.set_state(bits::RUNNING)?;
        }
        By::V2 => {
            device.set_state(State::Stop)?;
            let file = device.set_state(State::Resuming)?;
            let file = file.context("RESUMING came without a file")?;
            file.write_split(stream, &[100_000])?;
            device.set_state(State::Running)?;
        }
    }
    Ok(())
}
