// SPDX-License-Identifier: GPL-2.0
//! Moving a guest from one QEMU to another, or to a file and back.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{json, Value};

use super::vm::Vm;

/// What QEMU says about a completed migration.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// From start to end, milliseconds.
    pub total_ms: u64,
    /// The guest stood still, milliseconds.
    pub downtime_ms: u64,
    /// Preparation, milliseconds.
    pub setup_ms: u64,
    /// Bytes of VFIO device state in the stream, if this QEMU counts them.
    pub device_bytes: Option<u64>,
}

/// Switches on, at one end, what every migration here uses:
/// - `events`: the state changes are told, not polled for;
/// - `return-path`: the destination's verdict reaches the source before the source lets go of the
///   guest, so a destination that refuses at the very end costs nothing;
/// - `switchover-ack`: the switchover waits until the destination has the device's initial data, so
///   an incompatible device is found out while the source's guest still runs. Not every QEMU has
///   it.
fn enable_capabilities(vm: &mut Vm, stop: Stop) -> Result<()> {
    let mut capabilities = vec![
        capability(("events", true)),
        capability(("return-path", true)),
        capability(("pause-before-switchover", stop == Stop::BeforeSwitchover)),
    ];
    if vm.qemu.acknowledges_switchover() {
        capabilities.push(capability(("switchover-ack", true)));
    }
    set_capabilities(vm, &capabilities)
}

/// The longest downtime limit that QEMU takes, in milliseconds.
const LONGEST_DOWNTIME: u64 = 2_000_000;

/// What a file can have of that.
const FILE_CAPABILITIES: [(&str, bool); 2] = [("events", true), ("return-path", false)];

fn capability((name, state): (&str, bool)) -> Value {
    json!({ "capability": name, "state": state })
}

fn set_capabilities(vm: &mut Vm, capabilities: &[Value]) -> Result<()> {
    vm.command(
        "migrate-set-capabilities",
        json!({ "capabilities": capabilities }),
    )?;
    Ok(())
}

/// Has the destination listen at a socket.
pub fn listen(destination: &mut Vm, socket: &Path) -> Result<()> {
    enable_capabilities(destination, Stop::Never)?;
    // A former migration's socket is in the way of this one's.
    let _ = fs::remove_file(socket);
    let uri = format!("unix:{}", socket.display());
    destination.command("migrate-incoming", json!({ "uri": uri }))?;
    Ok(())
}

/// Whether a migration goes through by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It does.
    Never,
    /// It stops with status "pre-switchover", the guest paused and the device in STOP_COPY.
    BeforeSwitchover,
}

/// Starts the migration to a socket.
pub fn start(source: &mut Vm, socket: &Path, stop: Stop) -> Result<()> {
    enable_capabilities(source, stop)?;
    source.forget_events();
    source.command(
        "migrate",
        json!({ "uri": format!("unix:{}", socket.display()) }),
    )?;
    Ok(())
}

/// Waits until the migration has come to a status, as `query-migrate` names it.
pub fn await_status(vm: &mut Vm, wanted: &str) -> Result<()> {
    let status = await_any_status(vm, &[wanted, "completed", "failed", "cancelled"])?;
    if status != wanted {
        let reason = failure(vm)?;
        bail!("the migration came to \"{status}\" instead of \"{wanted}\": {reason}");
    }
    Ok(())
}

/// Waits for the first of several statuses and says which it was.
pub fn await_any_status(vm: &mut Vm, wanted: &[&str]) -> Result<String> {
    vm.await_event(
        &format!("migration status {}", wanted.join(" or ")),
        |name, data| {
            let status = data["status"].as_str()?;
            (name == "MIGRATION" && wanted.contains(&status)).then(|| status.to_owned())
        },
    )
}

/// Why the last migration failed, in QEMU's words.
pub fn failure(vm: &mut Vm) -> Result<String> {
    let info = vm.command("query-migrate", json!({}))?;
    let reason = info["error-desc"]
        .as_str()
        .unwrap_or("QEMU gives no reason")
        .to_owned();
    Ok(format!("{reason}; {}", vm.stderr().trim()))
}

/// How often QEMU has looked for dirty pages since the migration's start.
pub fn dirty_syncs(source: &mut Vm) -> Result<u64> {
    let info = source.command("query-migrate", json!({}))?;
    let count = info["ram"]["dirty-sync-count"].as_u64();
    count.context("QEMU does not count its looks for dirty pages")
}

/// Limits how long the guest may stand still, in milliseconds. A migration with more to send goes
/// on.
pub fn limit_downtime(source: &mut Vm, ms: u64) -> Result<()> {
    source.command("migrate-set-parameters", json!({ "downtime-limit": ms }))?;
    Ok(())
}

/// Waits for the beginning of a pass through dirty memory. The first sends all of it.
pub fn await_pass(source: &mut Vm, wanted: u64) -> Result<()> {
    source.await_event(&format!("pass {wanted}"), |name, data| {
        let is_it = name == "MIGRATION_PASS" && data["pass"].as_u64() >= Some(wanted);
        is_it.then_some(())
    })
}

/// So slow that a migration does not end by itself, in bytes a second.
pub const CRAWL: u64 = 1 << 20;
/// So fast that it is no limit.
pub const UNLIMITED: u64 = 1 << 40;

/// Limits what a migration may send, in bytes a second.
pub fn limit_bandwidth(source: &mut Vm, bytes: u64) -> Result<()> {
    source.command("migrate-set-parameters", json!({ "max-bandwidth": bytes }))?;
    Ok(())
}

/// Cancels a migration that has come to a status and stays there, as [`await_status`] has found.
///
/// Out of "pre-switchover" it may go by way of "device": QEMU lets the thread that waits there go
/// before it writes down that the migration is cancelled.
pub fn cancel(source: &mut Vm, from: &str) -> Result<()> {
    source.command("migrate_cancel", json!({}))?;
    // The first status since: had the migration gone on, another would come before.
    let next = source.await_event("a migration status", |name, data| {
        let status = data["status"].as_str()?;
        let on_the_way = (from, status) == ("pre-switchover", "device");
        (name == "MIGRATION" && !on_the_way).then(|| status.to_owned())
    })?;
    ensure!(
        next == "cancelling",
        "the migration came to \"{next}\" before it was cancelled"
    );
    Ok(())
}

/// Waits until a migration is cancelled and the guest is said to run on.
pub fn await_cancelled(source: &mut Vm) -> Result<()> {
    await_status(source, "cancelled")?;
    if source.command("query-status", json!({}))?["running"] != true {
        source.await_event("RESUME", |name, _| (name == "RESUME").then_some(()))?;
    }
    Ok(())
}

/// Waits for the end at both sides. The guest runs on the destination then, and the source is gone.
pub fn complete(source: &mut Vm, destination: &mut Vm) -> Result<Figures> {
    let figures = arrive(source, destination)?;
    destination.succeed(source)?;
    Ok(figures)
}

/// The same, but the source is still there, as the guest has left it. The destination has to
/// succeed it.
pub fn arrive(source: &mut Vm, destination: &mut Vm) -> Result<Figures> {
    await_status(source, "completed")
        .with_context(|| format!("the destination printed: {}", destination.stderr().trim()))?;
    await_status(destination, "completed")?;
    let state = destination.command("query-status", json!({}))?;
    if state["running"] != true {
        let printed = destination.stderr();
        bail!(
            "the guest does not run on the destination: {state}; {}",
            printed.trim()
        );
    }
    figures(source)
}

/// Moves the guest.
pub fn migrate(source: &mut Vm, destination: &mut Vm, socket: &Path) -> Result<Figures> {
    listen(destination, socket)?;
    start(source, socket, Stop::Never)?;
    complete(source, destination)
}

/// Stops the guest and writes it to a file, from which nothing comes back to QEMU.
///
/// QEMU waits until what is left can be sent within the downtime limit. A device that stands still
/// sends all it has at the end, so with the usual limit QEMU may wait for ever; nobody waits for
/// this guest.
pub fn save(source: &mut Vm, file: &Path) -> Result<()> {
    source.command("stop", json!({}))?;
    source.command(
        "migrate-set-parameters",
        json!({ "downtime-limit": LONGEST_DOWNTIME }),
    )?;
    set_capabilities(source, &FILE_CAPABILITIES.map(capability))?;
    source.forget_events();
    let uri = format!("exec:cat > {}", file.display());
    source.command("migrate", json!({ "uri": uri }))?;
    await_status(source, "completed")
}

/// Reads a guest from a file, and lets it go on.
pub fn load(destination: &mut Vm, file: &Path) -> Result<()> {
    set_capabilities(destination, &FILE_CAPABILITIES.map(capability))?;
    let uri = format!("exec:cat {}", file.display());
    destination.command("migrate-incoming", json!({ "uri": uri }))?;
    await_status(destination, "completed")?;
    let state = destination.command("query-status", json!({}))?;
    ensure!(
        state["status"] == "paused",
        "the guest was saved while it stood still, and now: {state}"
    );
    destination.command("cont", json!({}))?;
    Ok(())
}

fn figures(source: &mut Vm) -> Result<Figures> {
    let info = source.command("query-migrate", json!({}))?;
    let number = |value: &Value, name: &str| {
        value[name]
            .as_u64()
            .with_context(|| format!("query-migrate has no {name}"))
    };
    Ok(Figures {
        total_ms: number(&info, "total-time")?,
        downtime_ms: number(&info, "downtime")?,
        setup_ms: number(&info, "setup-time")?,
        device_bytes: match source.qemu.counts_device_bytes() {
            true => Some(number(&info["vfio"], "transferred")?),
            false => None,
        },
    })
}
