// SPDX-License-Identifier: GPL-2.0
//! Takes a device to a state, with its data file.

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::oracle::Oracle;
use super::places::{LARGE, SMALL};
use crate::vfio::device::Device;
use crate::vfio::migration::{DataFile, State};

/// Reads the whole state of a device, which is stopped meanwhile and runs afterwards.
pub fn capture(device: &Device) -> Result<Vec<u8>> {
    device.set_state(State::Stop)?;
    let file = device
        .set_state(State::StopCopy)?
        .context("STOP_COPY came without a file")?;
    let (stream, _) = read_in_pieces(&file, 4096)?;
    device.set_state(State::Running)?;
    Ok(stream)
}

/// Loads a whole state into the stopped or running device, which is stopped afterwards.
pub fn load(device: &Device, stream: &[u8]) -> Result<()> {
    let file = device.set_state(State::Resuming)?;
    let file = file.context("RESUMING came without a file")?;
    file.write_split(stream, &[4096])?;
    device.set_state(State::Stop)?;
    Ok(())
}

/// Reads to the end of the stream, or to its end for now, in pieces of the given size, or larger
/// ones for a long stream. Returns whether the end was final.
pub fn read_in_pieces(file: &DataFile, size: usize) -> Result<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    let mut piece = vec![0; size];
    while all.len() < SMALL {
        match file.read(&mut piece) {
            Ok(0) => return Ok((all, true)),
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(Errno::NOMSG) => return Ok((all, false)),
            Err(error) => return Err(error.into()),
        }
    }
    let (rest, is_final) = file.read_to_end(LARGE)?;
    all.extend(rest);
    Ok((all, is_final))
}

/// Resets a device and takes it, arc by arc, to a state. In RESUMING it loads the whole `stream`,
/// so that it can leave again.
pub fn enter(
    device: &Device,
    oracle: &Oracle,
    state: State,
    stream: &[u8],
) -> Result<Option<DataFile>> {
    device.reset().context("reset")?;
    let way = oracle
        .way(State::Running, state)
        .context("a state without a way to it")?;
    let mut file = None;
    for (next, _) in way {
        let new = device
            .set_state(next)
            .with_context(|| format!("to {next:?}"))?;
        file = new.or(file);
    }
    if state == State::Resuming {
        let file = file.as_ref().context("RESUMING came without a file")?;
        file.write_split(stream, &[4096])
            .context("write the stream")?;
    }
    Ok(file)
}
