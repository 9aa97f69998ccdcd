// SPDX-License-Identifier: GPL-2.0
//! Streams of both protocols: each read and each write fails at each of its points. The transfer
//! then goes on where it was, and everything arrives.

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;

use super::points::Points;
use super::Open;
use crate::scenario::conformance::session;
use crate::vfio::dma::PAGE;
use crate::vfio::migration::{DataFile, State};
use crate::vfio::v1::{bits, MigrationRegion, Way};

/// Bytes of a read or a write: less than a record of VRAM has.
const PIECE: usize = 1000;
/// The pages of VRAM that are not zero.
const PAGES: usize = 3;

/// A transfer through a data file, as far as it has come.
struct Transfer {
    file: DataFile,
    open: Open,
    stream: Vec<u8>,
    done: usize,
}

/// Runs the calls.
pub fn run(points: &mut Points<'_, '_>) -> Result<()> {
    let stream = session::capture(worked()?.device()?)?;
    for state in [State::StopCopy, State::PreCopy] {
        points.of(
            format!("reading in {state:?}"),
            || save(state, stream.len()),
            Transfer::read,
            |mut transfer, _| {
                transfer.read().context("go on")?;
                if state == State::PreCopy {
                    transfer.open.device()?.set_state(State::StopCopy)?;
                    transfer.read().context("the rest")?;
                }
                let Transfer { open, done, .. } = &transfer;
                let found = &transfer.stream[..*done];
                ensure!(
                    state == State::PreCopy || found == stream,
                    "the stream is another one"
                );
                let other = Open::new()?;
                session::load(other.device()?, found).context("load it")?;
                let again = session::capture(other.device()?)?;
                ensure!(again == stream, "it has another state");
                open.is_fit()
            },
        )?;
    }
    points.of(
        "writing in Resuming",
        || {
            let open = Open::new()?;
            let file = open.device()?.set_state(State::Resuming)?;
            Ok(Transfer {
                file: file.context("no data file")?,
                open,
                stream: stream.clone(),
                done: 0,
            })
        },
        Transfer::write,
        |mut transfer, answer| {
            // Without memory a record cannot be taken, and the session is over. A copy that fails
            // takes nothing.
            if answer == Err(Errno::NOMEM) && transfer.write() == Err(Errno::NODEV) {
                return transfer.open.is_fit();
            }
            transfer.write().context("go on")?;
            let device = transfer.open.device()?;
            device.set_state(State::Stop).context("end it")?;
            ensure!(session::capture(device)? == stream, "another state");
            transfer.open.is_fit()
        },
    )?;
    version_1(points, &stream)
}

/// A device with something in its VRAM.
fn worked() -> Result<Open> {
    let open = Open::new()?;
    let device = open.device()?;
    let vram = device.map(open.vram()?.offset, PAGES * PAGE)?;
    let bytes: Vec<u8> = (0..PAGES * PAGE).map(|at| (at % 251) as u8).collect();
    vram.write(0, &bytes);
    drop(vram);
    Ok(open)
}

/// Such a device in a saving state.
fn save(state: State, len: usize) -> Result<Transfer> {
    let open = worked()?;
    let device = open.device()?;
    if state == State::StopCopy {
        device.set_state(State::Stop)?;
    }
    let file = device.set_state(state)?;
    Ok(Transfer {
        file: file.context("no data file")?,
        open,
        // What PRE_COPY has sent may be sent again.
        stream: vec![0; 2 * len],
        done: 0,
    })
}

impl Transfer {
    /// Reads to the end, or to the end for now.
    fn read(&mut self) -> Result<(), Errno> {
        loop {
            let end = self.stream.len().min(self.done + PIECE);
            match self.file.read(&mut self.stream[self.done..end]) {
                Ok(0) | Err(Errno::NOMSG) => return Ok(()),
                Ok(count) => self.done += count,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Writes what is left.
    fn write(&mut self) -> Result<(), Errno> {
        while self.done < self.stream.len() {
            let end = self.stream.len().min(self.done + PIECE);
            self.done += self.file.write(&self.stream[self.done..end])?;
        }
        Ok(())
    }
}

/// The same through the migration region.
fn version_1(points: &mut Points<'_, '_>, stream: &[u8]) -> Result<()> {
    points.of(
        "reading through the region",
        || Ok((worked()?, Vec::with_capacity(2 * stream.len()))),
        |(open, found)| {
            let region = region(open)?;
            region.set_state(bits::STOP)?;
            region.set_state(bits::STOP_COPY)?;
            region.drain(Way::Trapped, found)
        },
        |(open, found), answer| {
            if answer.is_ok() {
                ensure!(found == stream, "the stream is another one");
                region(&open)?.set_state(bits::RUNNING)?;
            }
            open.is_fit()
        },
    )?;
    points.of(
        "writing through the region",
        Open::new,
        |open| {
            let region = region(open)?;
            region.set_state(bits::RESUMING)?;
            region.load(Way::Trapped, stream, &[PIECE])?;
            region.set_state(bits::STOP)
        },
        |open, answer| {
            if answer.is_ok() {
                let found = session::capture(open.device()?)?;
                ensure!(found == stream, "another state");
            }
            open.is_fit()
        },
    )
}

fn region(open: &Open) -> Result<MigrationRegion<'_>, Errno> {
    // A region whose capabilities cannot be read is passed over.
    open.device()?.migration_region()?.ok_or(Errno::NOMEM)
}
