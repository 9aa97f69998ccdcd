// SPDX-License-Identifier: GPL-2.0
//! A process that uses a device, killed at random moments: it must be gone soon, leave no page
//! pinned, and the next process must find the device as one that was closed.
//!
//! The process opens the device again and again, and each time does a few of the things that VMMs
//! do with it: sessions of both protocols, interrupts, mappings of BARs, pins, unmaps, the DMA log.
//! The seed decides what it does; when it is killed depends on the machine, too.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use mig_common::random::Random;
use rustix::io::Errno;
use serde::Serialize;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
    VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::bed::{load, unload};
use super::conformance::oracle::Oracle;
use super::conformance::session;
use super::memory::card::{Channel, Kind};
use super::mgpu::random;
use super::victim::{open_at_once, Victim};
use super::Ctx;
use crate::event::Outcome;
use crate::health::pinned;
use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::irq::Event;
use crate::vfio::migration::State;
use crate::vfio::v1::{bits, Way};
use crate::vfio::Mapping;

/// The devices, each with its driver. The last one has calls for pins in place of migration.
const TYPES: [&str; 3] = ["mtty_rs/mtty-1", "mgpu_rs/mgpu-16", PINS];
const PINS: &str = "memory_rs/memory_rs-1";
/// Kills of each device, unless the option `kills` says otherwise.
const KILLS: usize = 40;
/// The latest moment of a kill after the first open, in microseconds. Early ones are as likely.
const LATEST: usize = 250_000;
/// Guest memory.
const IOVA: u64 = 1 << 32;
const PAGES: usize = 16;
/// BARs of a PCI device.
const BARS: u32 = 6;

/// The kills of the users of one device.
#[derive(Serialize)]
struct Row {
    device: &'static str,
    kills: usize,
    /// Steps that the processes have begun.
    steps: usize,
    /// In how many different ones they were killed.
    killed_in: usize,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let kills = ctx.number("kills", KILLS)?;
    let mut random = random::prepare(ctx)?;
    load("vfio_iommu_type1")?;
    let before = pinned()?;
    let mut rows = Vec::new();
    for device in TYPES {
        let (module, _) = device.split_once('/').context("a type has a driver")?;
        load(module)?;
        let mdev = MdevType::named(device)?.create()?;
        let fresh = state(&mdev, device != PINS)?;
        let (mut steps, mut killed_in) = (0, BTreeSet::new());
        for number in 0..kills {
            if number % 20 == 0 {
                ctx.step(format!("{device}: kill {number} of {kills}"));
            }
            let seed = random.next_u64();
            let moment = Duration::from_micros(random.size(LATEST) as u64);
            let what = || format!("{device}, seed {seed}, killed after {moment:?}");
            let printed = killed(&mdev, device, seed, moment).with_context(what)?;
            steps += printed.lines().count();
            killed_in.extend(printed.lines().next_back().map(str::to_owned));
            let left = state(&mdev, device != PINS).with_context(what)?;
            ensure!(left == fresh, "{}: its state is another one", what());
            let now = pinned()?;
            ensure!(now == before, "{}: {now} pages are pinned", what());
        }
        rows.push(Row {
            device,
            kills,
            steps,
            killed_in: killed_in.len(),
        });
        drop(mdev);
        unload(module).with_context(|| format!("unload {module} afterwards"))?;
    }
    ctx.report(rows)?;
    Ok(Outcome::Passed)
}

/// Kills a user of the device; returns the steps that it has begun.
fn killed(mdev: &Mdev, device: &str, seed: u64, moment: Duration) -> Result<String> {
    let (seed, has_pins) = (seed.to_string(), (device == PINS).to_string());
    let path = mdev.path().to_str().context("a path of sysfs is text")?;
    let (client, _) = Victim::start(["client", path, &seed, &has_pins])?;
    thread::sleep(moment);
    client.kill()
}

/// Opens the device; returns what it saves, if it `is_saved`.
fn state(mdev: &Mdev, is_saved: bool) -> Result<Vec<u8>> {
    if !is_saved {
        Device::open(mdev.path()).context("open it at once")?;
        return Ok(Vec::new());
    }
    session::capture(&open_at_once(mdev)?).context("save its state")
}

/// The process: uses a device for ever.
pub fn client(path: &Path, seed: u64, has_pins: bool) -> Result<()> {
    let mut random = Random::new(seed);
    let first = Device::open(path)?;
    let stream = match has_pins {
        true => Vec::new(),
        false => session::capture(&first)?,
    };
    drop(first);
    println!("ready");
    loop {
        println!("open");
        let device = Device::open(path).context("open")?;
        let client = Client {
            oracle: Oracle::new(device.migration_flags().unwrap_or(0)),
            memory: Arc::new(Mapping::anonymous(PAGES * PAGE)?),
            device,
            stream: &stream,
            has_pins,
        };
        client.device.enable_bus_master()?;
        // A session of the one protocol excludes those of the other until the device is closed.
        let is_v1 = random.coin();
        for _ in 0..random.size(8) {
            match random.below(5) {
                0 => client.interrupts().context("interrupts")?,
                1 => client.bars(&mut random).context("BARs")?,
                2 => client.memory(&mut random).context("memory")?,
                _ if has_pins => client.memory(&mut random).context("memory")?,
                _ if is_v1 => client.v1(&mut random).context("protocol v1")?,
                _ => client.v2(&mut random).context("protocol v2")?,
            }
        }
        println!("close");
    }
}

/// What it uses.
struct Client<'a> {
    device: Device,
    oracle: Oracle,
    memory: Arc<Mapping>,
    stream: &'a [u8],
    has_pins: bool,
}

impl Client<'_> {
    /// Takes the device to a state, reads a part of its stream, and leaves it there.
    fn v2(&self, random: &mut Random) -> Result<()> {
        let states: Vec<State> = self.oracle.states().collect();
        let state = states[random.below(states.len())];
        println!("to {state:?}");
        let file = session::enter(&self.device, &self.oracle, state, self.stream)?;
        if let (Some(file), false) = (file, state == State::Resuming) {
            println!("read in {state:?}");
            let mut piece = vec![0; random.size(64 << 10)];
            match file.read(&mut piece) {
                // All that there is for now.
                Ok(_) | Err(Errno::NOMSG) => {}
                Err(error) => return Err(error).context("read"),
            }
        }
        Ok(())
    }

    /// The same by the registers of protocol v1.
    fn v1(&self, random: &mut Random) -> Result<()> {
        self.device.reset()?;
        let region = self.device.migration_region()?;
        let Some(region) = region else { return Ok(()) };
        let state = bits::TARGETS[random.below(bits::TARGETS.len())];
        println!("to v1's {state}");
        region.set_state(state)?;
        if [bits::PRE_COPY, bits::STOP_COPY].contains(&state) && region.pending()? > 0 {
            println!("read in v1's {state}");
            region.take_chunk(Way::Mapped, &mut Vec::new())?;
        }
        Ok(())
    }

    /// Connects interrupts, as many as there are of two kinds, and one of them after the other.
    fn interrupts(&self) -> Result<()> {
        for index in [MSI, MSIX] {
            println!("interrupts {index}");
            let count = self.device.irq(index, None)?.count;
            let events = (0..count)
                .map(|_| Event::new())
                .collect::<Result<Vec<_>, Errno>>()?;
            let fds: Vec<i32> = events.iter().map(Event::number).collect();
            if !fds.is_empty() {
                self.device.connect_all(index, TRIGGER, &fds)?;
                self.device.disable(index)?;
            }
        }
        Ok(())
    }

    /// Maps the BARs, and writes to what is mapped.
    fn bars(&self, random: &mut Random) -> Result<()> {
        for index in 0..BARS {
            println!("BAR {index}");
            for (_, mapping) in self.device.map_all(index)? {
                mapping.write(random.below(mapping.len()), &[random.next_u64() as u8]);
            }
        }
        Ok(())
    }

    /// Maps guest memory, has it pinned with the DMA log started if it can, and unmaps it.
    fn memory(&self, random: &mut Random) -> Result<()> {
        println!("map");
        self.device.space.map_dma(Dma {
            iova: IOVA,
            memory: &self.memory,
            offset: 0,
            len: PAGES * PAGE,
            access: Access::ReadWrite,
        })?;
        if self.has_pins {
            // Pins are refused while the device is stopped.
            self.device.reset()?;
            self.device.enable_bus_master()?;
            let is_logged = self.device.has_log() && random.coin();
            if is_logged {
                self.device
                    .start_log(PAGE as u64, &[(IOVA, (PAGES * PAGE) as u64)])?;
            }
            let channel = Channel::of(&self.device, 0);
            let kind = Kind::ALL[random.below(Kind::ALL.len())];
            println!("pin, {kind:?}");
            channel.pin(kind, IOVA, random.size(PAGES) * PAGE)?;
            println!("write");
            channel.write(IOVA + (PAGE - 4) as u64, &[1; 8])?;
            if random.coin() {
                println!("unpin");
                channel.unpin()?;
            }
            if is_logged {
                println!("report and stop the log");
                self.device.take_log(IOVA, PAGES * PAGE, PAGE)?;
                self.device.stop_log()?;
            }
        }
        println!("unmap");
        self.device.space.unmap_dma(IOVA, PAGES * PAGE)?;
        Ok(())
    }
}
