// SPDX-License-Identifier: GPL-2.0
//! What can be watched of a device (Documentation/tracing.md): a migration and pins in tracefs,
//! event by event, and the present state in debugfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use mdev_model::stream::{HEADER_LEN, MATCH_LEN};

use super::bed::load;
use super::conformance::checks::Checks;
use super::memory::card::{iova, Card, Kind};
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::State;

/// Where debugfs is.
const DEBUGFS: &str = "/sys/kernel/debug";
/// Where tracefs is.
const TRACEFS: &str = "/sys/kernel/tracing";

/// The length of the record of match data, after which comes the header of the first port's.
const MATCH: usize = HEADER_LEN + MATCH_LEN;

/// A trace of its own, with the SDK's events. Removed when dropped.
struct Trace(PathBuf);

impl Trace {
    fn start() -> Result<Trace> {
        if !Path::new(TRACEFS).join("instances").exists() {
            let mounted = Command::new("mount")
                .args(["-t", "tracefs", "tracefs", TRACEFS])
                .status()?;
            ensure!(mounted.success(), "tracefs cannot be mounted");
        }
        let trace = Trace(Path::new(TRACEFS).join("instances/mig-test"));
        fs::create_dir(&trace.0).context("an instance of tracefs")?;
        trace.set("events/mdev_sdk/enable", "1")?;
        Ok(trace)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.0.join(file), value).with_context(|| format!("write {value} to {file}"))
    }

    /// Returns the events of a device so far, each without the device's name.
    fn events(&self, mdev: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.0.join("trace")).context("the trace")?;
        let of_device = format!(": {mdev}: ");
        let events = text.lines().filter_map(|line| {
            let (_, event) = line.split_once(": mdev_sdk_")?;
            event
                .contains(&of_device)
                .then(|| event.replacen(&of_device, ": ", 1))
        });
        Ok(events.collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // What stays is found by who looks at what a scenario has left.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    for module in ["vfio_iommu_type1", "mtty_rs"] {
        load(module)?;
    }
    let mut checks = Checks::default();
    ctx.step("a migration");
    migration(&mut checks)?;
    ctx.step("pins");
    pins(&mut checks)?;
    ctx.step("the present state");
    present(&mut checks)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn migration(checks: &mut Checks) -> Result<()> {
    let kind = MdevType::find("mtty_rs", "mtty-1")?;
    let (from, to) = (kind.create()?, kind.create()?);
    let (source, destination) = (Device::open(from.path())?, Device::open(to.path())?);
    let trace = Trace::start()?;
    source.set_state(State::Stop)?;
    let file = source.set_state(State::StopCopy)?.context("no data file")?;
    let (stream, _) = file.read_to_end(1 << 16)?;
    destination.set_state(State::Stop)?;
    let file = destination
        .set_state(State::Resuming)?
        .context("no data file")?;
    file.write_split(&stream, &[100])?;
    destination.set_state(State::Running)?;
    let port = stream.get(MATCH..).and_then(|header| header.first_chunk());
    let port = u64::from_le_bytes(*port.context("no record of a port")?);
    let records = [(0x100, port), (0x3, 256), (0x4, 4)];
    let each =
        |verb| records.map(|(tag, size)| format!("{verb}_record: tag {tag:#x}, {size} bytes"));
    let arc = |from, to| format!("arc: {from} -> {to}: 0");
    let stopped = [arc("RUNNING", "RUNNING_P2P"), arc("RUNNING_P2P", "STOP")];

    let begun = [
        "save_record: tag 0x1, 64 bytes".into(),
        "session: session 1 begins, saving".into(),
        arc("STOP", "STOP_COPY"),
    ];
    let wanted = [&stopped[..], &begun, &each("save")].concat();
    checks.equal("the source", trace.events(&from.uuid)?, wanted);

    let begun = [
        "session: session 1 begins, loading".into(),
        arc("STOP", "RESUMING"),
    ];
    let ended = [
        arc("RESUMING", "STOP"),
        arc("STOP", "RUNNING_P2P"),
        arc("RUNNING_P2P", "RUNNING"),
    ];
    let wanted = [&stopped[..], &begun, &each("load"), &ended].concat();
    checks.equal("the destination", trace.events(&to.uuid)?, wanted);
    Ok(())
}

fn pins(checks: &mut Checks) -> Result<()> {
    let card = Card::new(Device::open, 4)?;
    let trace = Trace::start()?;
    let channel = card.channel(0);
    channel.pin(Kind::Write, iova(PAGE), 2 * PAGE)?;
    channel.unpin()?;
    let hole = channel.pin(Kind::Write, iova(4 * PAGE), 1);
    checks.that("a pin of a hole succeeds", hole.is_err());
    channel.pin(Kind::Read, iova(0), 1)?;
    card.unmap(0, 4)?;
    let events = trace.events(card.mdev())?;
    let at = |page: usize| iova(page * PAGE);
    let wanted = vec![
        format!("pin: IOVA {:#x}, 2 pages: 0", at(1)),
        format!("unpin: IOVA {:#x}, 2 pages: 0", at(1)),
        format!("pin: IOVA {:#x}, 1 pages: -22", at(4)),
        format!("pin: IOVA {:#x}, 1 pages: 0", at(0)),
        format!("unmap: IOVA {:#x} to {:#x}", at(0), at(4) - 1),
        format!("unpin: IOVA {:#x}, 1 pages: 0", at(0)),
    ];
    checks.equal("the events of pins", events, wanted);
    Ok(())
}

/// Returns what debugfs shows of an mdev of a driver, but for the numbers that may change.
fn shown(driver: &str, mdev: &str) -> Result<Vec<String>> {
    let path = Path::new(DEBUGFS).join(driver).join(mdev);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let varies = |line: &&str| line.starts_with("stop_copy_size") || line.starts_with("interrupt");
    let lines = text.lines().filter(|line| !varies(line));
    Ok(lines.map(str::to_owned).collect())
}

fn present(checks: &mut Checks) -> Result<()> {
    let idle = ["pins 0", "pinned_pages 0", "quiesced no", "log no"];
    let lines = |session: &[&str], pins: [&str; 4]| -> Vec<String> {
        [session, &pins]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let mdev = MdevType::find("mtty_rs", "mtty-1")?.create()?;
    let closed = ["state RUNNING", "owner none", "session 0", "open no"];
    let found = shown("mtty_rs", &mdev.uuid)?;
    checks.equal("a closed device", found, lines(&closed, idle));

    let device = Device::open(mdev.path())?;
    device.set_state(State::PreCopy)?;
    let saving = ["state PRE_COPY", "owner v2", "session 1", "open yes"];
    let found = shown("mtty_rs", &mdev.uuid)?;
    checks.equal("a device in PRE_COPY", found, lines(&saving, idle));
    device.set_state(State::RunningP2p)?;
    let quiesced = ["state RUNNING_P2P", "owner v2", "session 2", "open yes"];
    let refuses = ["pins 0", "pinned_pages 0", "quiesced yes", "log no"];
    let found = shown("mtty_rs", &mdev.uuid)?;
    checks.equal("a quiesced device", found, lines(&quiesced, refuses));
    drop(device);

    let card = Card::new(Device::open, 4)?;
    card.channel(0).pin(Kind::Write, iova(PAGE), 2 * PAGE)?;
    let running = ["state RUNNING", "owner none", "session 0", "open yes"];
    let pinned = ["pins 1", "pinned_pages 2", "quiesced no", "log no"];
    let found = shown("memory_rs", card.mdev())?;
    checks.equal("a device with a pin", found, lines(&running, pinned));
    let path = Path::new(DEBUGFS).join("mtty_rs").join(&mdev.uuid);
    drop(mdev);
    checks.that("debugfs shows a device that is gone", !path.exists());
    Ok(())
}
