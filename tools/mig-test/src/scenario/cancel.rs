// SPDX-License-Identifier: GPL-2.0
//! Migrations that are cancelled in each phase: the guest continues at the source, and can still
//! migrate.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{ensure, Context, Result};

use super::bed::{ensure_device_quiet, ensure_quiet, migrate_checked, Bed, Checkpoint, Host, BOTH};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::channel::Channel;
use crate::qemu::migration::{self, Stop, CRAWL, UNLIMITED};
use crate::qemu::vm::Role;

/// What QEMU says if a cancel shuts its channel down while a device's data goes out: EIO is the
/// channel's error then (`qemu_file_get_error()` in `vfio_save_block()`), and no read of the device
/// has failed. A slow machine is there more often.
const SHUT_DOWN: &str = "failed to save SaveStateEntry with id(name): ";

/// A status in which a migration stays until it is continued or cancelled.
struct Phase {
    status: &'static str,
    bandwidth: u64,
    stop: Stop,
}

/// The phases that involve the devices.
const PHASES: [Phase; 2] = [
    Phase {
        status: "active",
        bandwidth: CRAWL,
        stop: Stop::Never,
    },
    Phase {
        status: "pre-switchover",
        bandwidth: UNLIMITED,
        stop: Stop::BeforeSwitchover,
    },
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let bed = Bed::prepare(ctx)?;
    let (mut source, before) = bed.running_source(ctx, &BOTH)?;

    ctx.step("cancelling in phase \"setup\"");
    let socket = bed.socket("setup");
    let deaf = Deaf::listen(&socket)?;
    migration::start(&mut source.vm, &socket, Stop::Never)?;
    migration::await_status(&mut source.vm, "setup")?;
    // QEMU's attempt to connect fails then, and with it ends the migration.
    migration::cancel(&mut source.vm, "setup", || drop(deaf))?;
    Checkpoint::check(&mut source, &before)?;
    ensure_device_quiet(&source)?;

    for phase in PHASES {
        let status = phase.status;
        ctx.step(format!("cancelling in phase \"{status}\""));
        let socket = bed.socket(status);
        let mut destination = bed.start_of(status, &BOTH, Role::Destination)?;
        migration::listen(&mut destination.vm, &socket)?;
        migration::limit_bandwidth(&mut source.vm, phase.bandwidth)?;
        migration::start(&mut source.vm, &socket, phase.stop)?;
        migration::await_status(&mut source.vm, status)?;
        let end = migration::cancel(&mut source.vm, status, || ())?;
        ctx.step(format!("QEMU calls it \"{end}\""));
        Checkpoint::check(&mut source, &before)?;
        ensure_quiet_but_for_channel(&source)?;
    }
    ctx.step("migrating without cancelling");
    let mut destination = bed.start_of("destination", &BOTH, Role::Destination)?;
    migrate_checked(&bed, &mut source, &mut destination)?;
    ensure_quiet(&destination)?;
    Ok(Outcome::Passed)
}

/// Requires that QEMU has no complaint about a device but that its own channel was shut down.
fn ensure_quiet_but_for_channel(host: &Host) -> Result<()> {
    let of_channel = |line: &String| line.starts_with(SHUT_DOWN) && line.ends_with(": -5");
    let mut complaints = host.vm.complaints();
    complaints.retain(|line| line.to_lowercase().contains("vfio") && !of_channel(line));
    let complaints = complaints.join(" | ");
    ensure!(complaints.is_empty(), "QEMU complains: {complaints}");
    Ok(())
}

/// A socket that accepts no connection: a connect waits until it is closed.
struct Deaf {
    _listener: UnixListener,
    /// Fills the queue of pending connections.
    _first: UnixStream,
}

impl Deaf {
    fn listen(path: &Path) -> Result<Deaf> {
        let listener = Channel::listen(path)?;
        rustix::net::listen(&listener, 0)?;
        let first = UnixStream::connect(path).context("connect to a socket that has room")?;
        Ok(Deaf {
            _listener: listener,
            _first: first,
        })
    }
}
