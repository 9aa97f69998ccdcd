// SPDX-License-Identifier: GPL-2.0
//! The requirements of protocol v1's migration region, register by register, and together with
//! protocol v2. They are those of Documentation/protocols.md, because the kernel's headers do not
//! have the text any more.

pub mod crossing;
pub mod data;
pub mod owner;
pub mod races;
pub mod registers;
pub mod states;

use anyhow::{Context, Result};

use super::target::Target;
use crate::event::Outcome;
use crate::vfio::device::Device;
use crate::vfio::v1::{bits, MigrationRegion, Way};

/// The outcome for a device without the region.
fn no_region(target: &Target) -> Outcome {
    lacks(target, "the device has no migration region")
}

/// The outcome for a device without something that each of this project's devices has.
fn lacks(target: &Target, what: &str) -> Outcome {
    let reason = what.into();
    match target.is_ours {
        true => Outcome::Failed { reason },
        false => Outcome::Skipped { reason },
    }
}

/// Reads the whole state of a device, which is stopped meanwhile and runs afterwards.
fn capture(region: &MigrationRegion, way: Way) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    region.set_state(bits::STOP_COPY).context("to stop-copy")?;
    region.drain(way, &mut stream).context("drain")?;
    region.set_state(bits::RUNNING).context("back to running")?;
    Ok(stream)
}

/// Resets a device and takes it to a state. In RESUMING it loads the whole `stream`, so that it can
/// leave again.
fn enter(device: &Device, region: &MigrationRegion, state: u32, stream: &[u8]) -> Result<()> {
    device.reset().context("reset")?;
    region
        .set_state(state)
        .with_context(|| format!("to {state}"))?;
    if state == bits::RESUMING {
        region
            .load(Way::Mapped, stream, &[stream.len()])
            .context("load the stream")?;
    }
    Ok(())
}
