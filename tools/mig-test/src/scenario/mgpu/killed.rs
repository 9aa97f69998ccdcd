// SPDX-License-Identifier: GPL-2.0
//! A VMM is killed while its device waits for a page of guest memory that only the VMM can provide:
//! the process must exit, its mdev must be removable, and the module unloadable. The device's
//! kernel thread waits for the page and cannot be killed by a user. A thread of the VMM waits for
//! the device in each of the calls that can wait, or none does and the last close waits.
//!
//! An unmap is not among the calls: type1 holds its lock while a copy waits for user space, and a
//! thread that waits for the lock cannot be killed, whichever driver copies
//! (Documentation/threat-model.md).

use std::iter;
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::builder::PossibleValue;
use clap::ValueEnum;
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::Pid;
use rustix::thread::gettid;

use super::card::{Card, Command, IOVA, MODULE};
use crate::event::Outcome;
use crate::health::pinned;
use crate::mdev::Mdev;
use crate::scenario::bed::unload;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::memory::card::Card as Calls;
use crate::scenario::victim::Victim;
use crate::scenario::{waiting, Ctx};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::migration::State;
use crate::vfio::userfault::Late;
use crate::vfio::Mapping;

/// The IOVA of the page that is never provided.
const AREA: u64 = IOVA + (64 << 20);
/// The timeout for the VMM to begin to wait.
const PREPARATION: Duration = Duration::from_secs(60);

/// The call in which a thread of the VMM is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// None: the last close occurs at the process's exit.
    Nothing,
    /// VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE to STOP.
    Stop,
    /// VFIO_DEVICE_RESET.
    Reset,
    /// A write to a register, at which the driver drops the engine that waits. The device is that
    /// of `memory_rs`.
    Drop,
}

/// The file of the VMM with the higher number, because an exiting process closes files in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// The userfaultfd.
    DeviceFirst,
    /// The device file.
    FaultsFirst,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    for way in Way::value_variants() {
        for order in Order::value_variants() {
            ctx.step(format!("{way:?}, {order:?}"));
            let what = |what: &str| format!("{way:?}, {order:?}: {what}");
            let mdev = killed(*way, *order).with_context(|| what("the VMM"))?;
            let removed = mdev.write_remove("1").map_err(|error| error.to_string());
            checks.equal(what("removing its mdev"), removed, Ok(()));
            checks.equal(what("pages still pinned"), pinned()?, before);
        }
    }
    for module in [MODULE, "memory_rs"] {
        let unloaded = unload(module).is_ok();
        checks.that(format!("{module} is not unloaded"), unloaded);
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Kills a waiting VMM, and waits for its exit. Returns its mdev.
fn killed(way: Way, order: Order) -> Result<Mdev> {
    let (way, order) = (way.to_possible_value(), order.to_possible_value());
    let values = way.iter().chain(&order).map(PossibleValue::get_name);
    let (vmm, mdev) = Victim::start(iter::once("vmm").chain(values))?;
    let mdev = Mdev::named(&mdev)?;
    vmm.kill()?;
    Ok(mdev)
}

/// Runs the VMM: begins to wait, prints the name of its mdev, and is killed.
pub fn vmm(way: Way, order: Order) -> Result<()> {
    let memory = Arc::new(Mapping::anonymous(PAGE)?);
    if way == Way::Drop {
        return dropping(order, &memory);
    }
    let (late, mut card) = opened(order, &memory, Card::started)?;
    // A mapping of the device would keep it open until the memory of the process is gone, which the
    // waiting thread holds: the userfaultfd would be closed first in any order.
    card.vram = Mapping::anonymous(PAGE)?;
    map(&card.device, &memory)?;
    card.submit(&[Command::upload(0, AREA, 100)])?;
    let call = || match way {
        Way::Nothing | Way::Drop => {
            thread::park();
            Ok(())
        }
        Way::Stop => card.device.set_state(State::Stop).map(drop),
        Way::Reset => card.device.reset(),
    };
    let waits = |thread| way == Way::Nothing || waiting::in_ioctl(thread, PREPARATION);
    wait(&late, card.mdev(), call, waits)
}

/// The same with an engine that a write to a register drops.
fn dropping(order: Order, memory: &Arc<Mapping>) -> Result<()> {
    let (late, card) = opened(order, memory, || Calls::new(Device::open, 1))?;
    map(&card.device, memory)?;
    let channel = card.channel(0);
    channel.start_engine(AREA)?;
    let waits = |thread| waiting::in_write(thread, PREPARATION);
    wait(&late, card.mdev(), || channel.unpin(), waits)
}

/// Opens the userfaultfd of `memory`, and a card by `new`, in that order or the other one.
fn opened<C>(
    order: Order,
    memory: &Arc<Mapping>,
    new: impl FnOnce() -> Result<C>,
) -> Result<(Late, C)> {
    let late = || Late::new(memory.clone());
    Ok(match order {
        Order::DeviceFirst => {
            let card = new()?;
            (late()?, card)
        }
        Order::FaultsFirst => (late()?, new()?),
    })
}

/// Maps the page that is never provided.
fn map(device: &Device, memory: &Arc<Mapping>) -> Result<()> {
    Ok(device.space.map_dma(Dma {
        iova: AREA,
        memory,
        offset: 0,
        len: PAGE,
        access: Access::ReadWrite,
    })?)
}

/// Makes a `call` in a thread once the device waits, prints the device's name when the thread waits
/// too, and then does nothing.
fn wait(
    late: &Late,
    mdev: &str,
    call: impl FnOnce() -> Result<(), Errno> + Send,
    waits: impl FnOnce(Pid) -> bool,
) -> Result<()> {
    let (end, _writer) = pipe_with(PipeFlags::CLOEXEC)?;
    ensure!(
        late.wait(end.as_fd())?.is_some(),
        "the device does not wait"
    );
    let (tell, told) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(gettid())?;
            call()?;
            anyhow::Ok(())
        });
        ensure!(waits(told.recv()?), "the thread does not wait");
        println!("{mdev}");
        loop {
            thread::park();
        }
    })
}
