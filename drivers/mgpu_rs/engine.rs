// SPDX-License-Identifier: GPL-2.0

//! One step of work: at most [`SLICE`] bytes of data, after which the registers decide again.
//!
//! A step takes [`Work`] of a ring from the registers, accesses memory, and returns an [`Outcome`]
//! to them. The registers' lock is held before and after the step, not during it, so each ring can
//! have a step in progress:
//!
//! ```text
//! lock     work = registers.take_work(ring)
//! unlock   outcome = engine.step(work)           may sleep
//! lock     effects = registers.publish(ring, outcome)
//! unlock   act on the effects, repeat until there is no work
//! ```
//!
//! All progress is in the outcome, so the device can be reset or migrated while no step is in
//! progress, and no step runs twice.

use crate::{
    command::Command,
    error::{Error, Failure},
    fields::Writer,
    job::Job,
    memory::{GuestMemory, Place, Space, Vram},
    uapi::COMMAND_LEN,
};
use mdev_model::stream::Crc32c;

/// The maximum of bytes of data that a step reads, and of those that it writes.
pub const SLICE: usize = 64 << 10;

/// The next step. It must be executed, and its outcome published.
#[derive(Debug)]
#[must_use]
pub struct Work {
    /// The ring's generation; a reset changes it, and the outcome is then ignored.
    pub(crate) generation: u64,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    /// Read the command at this guest address.
    Fetch(u64),
    /// Continue a command. A fence reports the failure.
    Execute(Job, Option<Failure>),
}

/// The outcome of a step. It must be published.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    pub(crate) generation: u64,
    pub(crate) result: Result<Step, Error>,
}

/// A step that succeeded.
#[derive(Debug)]
pub(crate) enum Step {
    /// A command was read.
    Fetched([u8; COMMAND_LEN]),
    /// The command continues.
    Progress(Job),
    /// The command is done.
    Done,
    /// The command was a fence with this value, and is done.
    Fence(u64),
}

/// The resources of a step.
#[derive(Debug)]
pub struct Engine<'a, G, V> {
    /// Guest memory.
    pub guest: &'a mut G,
    /// VRAM.
    pub vram: &'a mut V,
    /// The checksum function.
    pub crc32c: Crc32c,
    /// The buffer for the data of a step: not empty; at most [`SLICE`] bytes of it are used.
    pub scratch: &'a mut [u8],
}

impl<G: GuestMemory, V: Vram> Engine<'_, G, V> {
    /// Executes one step: reads memory at most once, then writes it. The step depends on `work`
    /// only.
    pub fn step(&mut self, work: Work) -> Outcome {
        let result = match work.task {
            Task::Fetch(iova) => self.fetch(iova),
            Task::Execute(job, failure) => self.execute(job, failure),
        };
        Outcome {
            generation: work.generation,
            result,
        }
    }

    fn fetch(&mut self, iova: u64) -> Result<Step, Error> {
        let mut bytes = [0; COMMAND_LEN];
        let read = self.guest.read(iova, &mut bytes);
        read.map_err(|_| Error::RingRead)?;
        Ok(Step::Fetched(bytes))
    }

    fn execute(&mut self, mut job: Job, failure: Option<Failure>) -> Result<Step, Error> {
        let left = job.command.len() - job.done;
        let len = self.scratch.len().min(SLICE).min(left as usize);
        let len = match job.command {
            Command::Nop => len,
            Command::Fill { dst, pattern, .. } => {
                let pattern = pattern.iter().cycle().skip(job.done as usize % 4);
                for (byte, new) in self.scratch[..len].iter_mut().zip(pattern) {
                    *byte = *new;
                }
                self.write(dst.plus(job.done.into()), len)?;
                len
            }
            Command::Transfer(transfer) => {
                let piece = transfer.piece(job.done, len);
                self.read(piece.src, piece.len)?;
                self.write(piece.dst, piece.len)?;
                piece.len
            }
            Command::Crc32c { src, result, .. } => {
                self.read(src.plus(job.done.into()), len)?;
                job.crc = !(self.crc32c)(!job.crc, &self.scratch[..len]);
                if len as u32 == left {
                    self.write_guest(result, &job.crc.to_le_bytes())?;
                }
                len
            }
            Command::Fence { dst, value } => {
                let (status, index) = Failure::show(failure);
                let report: [u8; 8] = Writer::new().u32(status).u32(index).done();
                // The value last, so that a driver that polls it finds the rest valid.
                self.write_guest(dst + 8, &report)?;
                self.write_guest(dst, &value.to_le_bytes())?;
                return Ok(Step::Fence(value));
            }
        };
        job.done += len as u32;
        Ok(if len as u32 == left {
            Step::Done
        } else {
            Step::Progress(job)
        })
    }

    fn read(&mut self, src: Place, len: usize) -> Result<(), Error> {
        let data = &mut self.scratch[..len];
        match src.space {
            Space::Vram => self.vram.read(src.at, data),
            Space::Guest => {
                let read = self.guest.read(src.at, data);
                read.map_err(|_| Error::GuestRead)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, dst: Place, len: usize) -> Result<(), Error> {
        let data = &self.scratch[..len];
        match dst.space {
            Space::Vram => self.vram.write(dst.at, data),
            Space::Guest => {
                let written = self.guest.write(dst.at, data);
                written.map_err(|_| Error::GuestWrite)?;
            }
        }
        Ok(())
    }

    fn write_guest(&mut self, iova: u64, data: &[u8]) -> Result<(), Error> {
        let written = self.guest.write(iova, data);
        written.map_err(|_| Error::GuestWrite)
    }
}
