// SPDX-License-Identifier: GPL-2.0
//! Migration of a guest between two QEMUs, or to a file and back.

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{json, Value};

use super::vm::Vm;

/// QEMU's figures of a completed migration.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// From start to end, milliseconds.
    pub total_ms: u64,
    /// Downtime, milliseconds.
    pub downtime_ms: u64,
    /// Preparation, milliseconds.
    pub setup_ms: u64,
    /// Bytes of VFIO device state in the stream, if this QEMU reports them.
    pub device_bytes: Option<u64>,
}

/// Enables the capabilities of every migration here, at one end:
/// - `events`: QEMU reports changes of state, so they are not polled;
/// - `return-path`: the destination's result reaches the source before the source releases the
///   guest, so a destination that refuses at the very end costs nothing;
/// - `switchover-ack`: the switchover waits until the destination has the device's initial data, so
///   an incompatible device is detected while the source's guest still runs. Not every QEMU has it.
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

/// The longest downtime limit that QEMU accepts, in milliseconds.
const LONGEST_DOWNTIME: u64 = 2_000_000;

/// The settings of capabilities for a migration to a file.
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

/// Makes the destination listen at a socket.
pub fn listen(destination: &mut Vm, socket: &Path) -> Result<()> {
    enable_capabilities(destination, Stop::Never)?;
    // A former migration's socket is in the way of this one's.
    let _ = fs::remove_file(socket);
    let uri = format!("unix:{}", socket.display());
    destination.command("migrate-incoming", json!({ "uri": uri }))?;
    Ok(())
}

/// Whether a migration completes by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It completes.
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

/// Waits until the migration has a status of `query-migrate`.
pub fn await_status(vm: &mut Vm, wanted: &str) -> Result<()> {
    let status = await_any_status(vm, &[wanted, "completed", "failed", "cancelled"])?;
    if status != wanted {
        let reason = failure(vm)?;
        bail!("the migration came to \"{status}\" instead of \"{wanted}\": {reason}");
    }
    Ok(())
}

/// Waits for the first of several statuses and returns it.
pub fn await_any_status(vm: &mut Vm, wanted: &[&str]) -> Result<String> {
    vm.await_event(
        &format!("migration status {}", wanted.join(" or ")),
        |name, data| {
            let status = data["status"].as_str()?;
            (name == "MIGRATION" && wanted.contains(&status)).then(|| status.to_owned())
        },
    )
}

/// Returns QEMU's reason for the failure of the last migration.
pub fn failure(vm: &mut Vm) -> Result<String> {
    let info = vm.command("query-migrate", json!({}))?;
    let reason = info["error-desc"]
        .as_str()
        .unwrap_or("QEMU gives no reason")
        .to_owned();
    Ok(format!("{reason}; {}", vm.stderr().trim()))
}

/// Returns the number of QEMU's dirty page queries since the migration's start.
pub fn dirty_syncs(source: &mut Vm) -> Result<u64> {
    let info = source.command("query-migrate", json!({}))?;
    let count = info["ram"]["dirty-sync-count"].as_u64();
    count.context("QEMU does not count its looks for dirty pages")
}

/// Sets the downtime limit in milliseconds. A migration that needs more continues with pre-copy.
pub fn limit_downtime(source: &mut Vm, ms: u64) -> Result<()> {
    source.command("migrate-set-parameters", json!({ "downtime-limit": ms }))?;
    Ok(())
}

/// Waits for the beginning of a pass over dirty memory. The first pass sends all memory.
pub fn await_pass(source: &mut Vm, wanted: u64) -> Result<()> {
    source.await_event(&format!("pass {wanted}"), |name, data| {
        let is_it = name == "MIGRATION_PASS" && data["pass"].as_u64() >= Some(wanted);
        is_it.then_some(())
    })
}

/// A bandwidth so low that a migration does not end by itself, in bytes per second.
pub const CRAWL: u64 = 1 << 20;
/// A bandwidth so high that it is no limit.
pub const UNLIMITED: u64 = 1 << 40;

/// Limits the bandwidth of a migration, in bytes per second.
pub fn limit_bandwidth(source: &mut Vm, bytes: u64) -> Result<()> {
    source.command("migrate-set-parameters", json!({ "max-bandwidth": bytes }))?;
    Ok(())
}

/// The reasons of a migration that fails because its channel was shut down; the second is 7.2's.
const SHUT_DOWN: [&str; 2] = [
    "Channel error: Input/output error",
    "Unable to write to socket: Broken pipe",
];

/// Cancels a migration that stays in a status, as found by [`await_status`], calls `meanwhile`, and
/// waits until the migration has ended and the guest runs. Returns the status that QEMU calls it.
///
/// From "pre-switchover" it may pass through "device": QEMU wakes the thread that waits there
/// before it records that the migration is cancelled. It shuts the return path down before that,
/// too, which is the same socket as the channel's (`migration_cancel()` in QEMU's
/// `migration/migration.c`): the thread that sends may find it broken, and the migration "failed",
/// or "failing" and "cancelled" then with QEMU 11.1.
pub fn cancel(source: &mut Vm, from: &str, meanwhile: impl FnOnce()) -> Result<String> {
    source.command("migrate_cancel", json!({}))?;
    meanwhile();
    // The first status since: had the migration gone on, another would come before.
    let mut end = source.await_event("a migration status", |name, data| {
        let status = data["status"].as_str()?;
        let on_the_way = (from, status) == ("pre-switchover", "device");
        (name == "MIGRATION" && !on_the_way).then(|| status.to_owned())
    })?;
    if ["cancelling", "failing"].contains(&&*end) {
        end = await_any_status(source, &["cancelled", "failed", "completed"])?;
    }
    let is_cancelled = end == "cancelled" || end == "failed" && is_shut_down(source)?;
    ensure!(
        is_cancelled,
        "the migration came to \"{end}\" before it was cancelled: {}",
        failure(source)?
    );
    await_running(source)?;
    Ok(end)
}

/// Returns whether the last migration has failed because its channel was shut down.
fn is_shut_down(source: &mut Vm) -> Result<bool> {
    let info = source.command("query-migrate", json!({}))?;
    let reason = info["error-desc"].as_str();
    Ok(reason.is_some_and(|reason| SHUT_DOWN.contains(&reason)))
}

/// Waits until QEMU reports that the guest runs.
pub fn await_running(source: &mut Vm) -> Result<()> {
    if source.command("query-status", json!({}))?["running"] != true {
        source.await_event("RESUME", |name, _| (name == "RESUME").then_some(()))?;
    }
    Ok(())
}

/// Waits for the end at both sides. Then the guest runs on the destination, and the source has
/// ended.
pub fn complete(source: &mut Vm, destination: &mut Vm) -> Result<Figures> {
    let figures = arrive(source, destination)?;
    destination.succeed(source)?;
    Ok(figures)
}

/// The same, but keeps the source as the guest has left it. The destination must succeed it.
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

/// Migrates the guest.
pub fn migrate(source: &mut Vm, destination: &mut Vm, socket: &Path) -> Result<Figures> {
    listen(destination, socket)?;
    start(source, socket, Stop::Never)?;
    complete(source, destination)
}

/// Stops the guest and saves it to a file, which returns nothing to QEMU.
///
/// QEMU waits until the rest fits into the downtime limit. A stopped device sends everything at the
/// end, so with the usual limit QEMU may wait for ever. The limit does not matter for a stopped
/// guest.
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

/// Restores a guest from a file, and continues it.
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
