// SPDX-License-Identifier: GPL-2.0
//! Every allocation and every copy from and to user space on the way of what VFIO's users call,
//! made to fail one after the other. Each call then says so with a clean errno, the device is in a
//! state that the header knows, a reset works, and what was not lost comes out whole.

mod memory;
mod points;
mod transfer;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
};

use super::bed::load;
use super::conformance::oracle::{arc, Oracle};
use super::conformance::session;
use super::Ctx;
use crate::event::Outcome;
use crate::health::pinned;
use crate::mdev::{random_uuid, Mdev, MdevType};
use crate::vfio::device::{Device, Group, RegionInfo};
use crate::vfio::irq::Event;
use crate::vfio::migration::State;
use points::Points;

/// A device whose open allocates 4,096 pages, and one with few allocations.
const LARGE: &str = "mgpu_rs/mgpu-16";
const SMALL: &str = "mtty_rs/mtty-1";
/// The index of the BAR that a guest maps.
const VRAM: u32 = 2;

/// It warns if it fails (Documentation/findings.md, 11).
const CREATES_GROUP: &str = "vfio_create_group";

/// An open device. Removed when dropped, device first.
struct Open {
    device: Option<Device>,
    mdev: Mdev,
}

impl Open {
    fn new() -> Result<Open> {
        Open::of(LARGE)
    }

    fn of(kind: &str) -> Result<Open> {
        let mdev = MdevType::named(kind)?.create()?;
        Ok(Open {
            device: Some(Device::open(mdev.path())?),
            mdev,
        })
    }

    /// The device; EBADF once it is closed.
    fn device(&self) -> Result<&Device, Errno> {
        self.device.as_ref().ok_or(Errno::BADF)
    }

    /// The BAR that a guest maps.
    fn vram(&self) -> Result<RegionInfo, Errno> {
        self.device()?.region(VRAM, None)
    }

    /// The device after a call that may have failed: in a state of the header, and fit for work
    /// once it is reset.
    fn is_fit(&self) -> Result<()> {
        let device = self.device()?;
        device.state().context("the state")?;
        device.reset().context("reset")?;
        let state = device.state()?;
        ensure!(state == State::Running, "{state:?} after a reset");
        for state in [State::StopCopy, State::Stop, State::Running] {
            device
                .set_state(state)
                .with_context(|| format!("to {state:?}"))?;
        }
        Ok(())
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load("mgpu_rs")?;
    load("mtty_rs")?;
    let Some(mut points) = Points::of_this_thread(ctx)? else {
        return Ok(Outcome::Skipped {
            reason: "this kernel makes nothing fail: run it with --kernel debug".into(),
        });
    };
    let before = pinned()?;
    lives(&mut points)?;
    uses(&mut points)?;
    arcs(&mut points)?;
    transfer::run(&mut points)?;
    memory::run(&mut points)?;
    ensure!(pinned()? == before, "pages stay pinned");
    points.report()?;
    Ok(Outcome::Passed)
}

/// Returns the errno of a write to sysfs.
fn errno(answer: std::io::Result<()>) -> Result<(), Errno> {
    answer.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PROTO))
}

/// create, open, close, remove.
fn lives(points: &mut Points<'_, '_>) -> Result<()> {
    let kind = MdevType::named(SMALL)?;
    points.spare(CREATES_GROUP)?;
    points.of(
        "create",
        random_uuid,
        |uuid| errno(kind.write_create(uuid)),
        |uuid, created| {
            ensure!(
                created.is_ok() == Mdev::named(&uuid).is_ok(),
                "whether it exists differs from the answer"
            );
            Ok(())
        },
    )?;
    for kind in [SMALL, LARGE] {
        points.of(
            format!("open {kind}"),
            || {
                let mdev = MdevType::named(kind)?.create()?;
                Ok((Group::attach(mdev.path())?, mdev))
            },
            |(group, _)| group.open_device().map(drop),
            |(group, _mdev), _| group.open_device().map(drop).context("open it again"),
        )?;
    }
    points.of(
        "close",
        || Open::of(SMALL),
        |open| {
            open.device = None;
            Ok(())
        },
        |open, _| Device::open(open.mdev.path()).map(drop),
    )?;
    points.of(
        "remove",
        || kind.create(),
        |mdev| errno(mdev.write_remove("1")),
        |mdev, removed| {
            if removed.is_err() {
                mdev.write_remove("1").context("remove it again")?;
            }
            ensure!(!mdev.path().exists(), "it still exists");
            Ok(())
        },
    )
}

/// SET_IRQS, mmap, the faults of a mapping, reset.
fn uses(points: &mut Points<'_, '_>) -> Result<()> {
    let events = [Event::new()?, Event::new()?, Event::new()?, Event::new()?];
    let fds = [0, 1, 2, 3].map(|index: usize| events[index].number());
    points.of(
        "SET_IRQS",
        Open::new,
        |open| open.device()?.connect_all(MSIX, TRIGGER, &fds),
        |open, _| {
            let device = open.device()?;
            device.connect_all(MSIX, TRIGGER, &fds).context("again")?;
            device.disable(MSIX).context("disable")?;
            open.is_fit()
        },
    )?;
    points.of(
        "mmap",
        || {
            let open = Open::new()?;
            let region = open.vram()?;
            Ok((open, region))
        },
        |(open, region)| {
            open.device()?
                .map(region.offset, region.size as usize)
                .map(drop)
        },
        |(open, _), _| open.is_fit(),
    )?;
    points.of(
        "faults",
        || {
            let open = Open::new()?;
            let region = open.vram()?;
            let mapping = open.device()?.map(region.offset, 64 << 10)?;
            Ok((open, mapping))
        },
        |(_, mapping)| mapping.populate(),
        // The mapping goes first: it keeps the device open.
        |(open, mapping), _| {
            mapping.populate().context("again")?;
            mapping.write(0, &[0x5a]);
            open.is_fit()
        },
    )?;
    points.of(
        "reset",
        Open::new,
        |open| open.device()?.reset(),
        |open, _| open.is_fit(),
    )
}

/// Each arc between two neighbouring states, of a device whose stream is loaded in RESUMING.
fn arcs(points: &mut Points<'_, '_>) -> Result<()> {
    let sample = Open::new()?;
    let oracle = Oracle::new(sample.device()?.migration_flags()?);
    let stream = session::capture(sample.device()?)?;
    drop(sample);
    for (from, to) in oracle.direct() {
        points.of(
            arc(from, to),
            || {
                let open = Open::new()?;
                let file = session::enter(open.device()?, &oracle, from, &stream)?;
                Ok((open, file))
            },
            |(open, _)| open.device()?.set_state(to).map(drop),
            |(open, _file), answer| {
                let state = open.device()?.state()?;
                // VFIO's own copy to user space comes after the change.
                let wanted = match answer {
                    Ok(()) => [to, to, to],
                    Err(_) => [from, to, State::Error],
                };
                ensure!(wanted.contains(&state), "{state:?} after {answer:?}");
                open.is_fit()
            },
        )?;
    }
    Ok(())
}
