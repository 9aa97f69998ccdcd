// SPDX-License-Identifier: GPL-2.0

//! The command that is being executed, and its progress: the part of a command that migrates.

use mdev_model::record::require;

use crate::{command::Command, error::Error, uapi::COMMAND_LEN};

/// A checked command in progress, as each step leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// The command as it was fetched; this migrates.
    bytes: [u8; COMMAND_LEN],
    /// The same, checked.
    pub(crate) command: Command,
    /// Bytes of data that are done: fewer than all, because the last step ends the command.
    pub(crate) done: u32,
    /// CRC32C of these bytes if the command is CRC32C, else 0.
    pub(crate) crc: u32,
}

impl Job {
    pub(crate) fn new(bytes: [u8; COMMAND_LEN], vram_size: u32) -> Result<Self, Error> {
        Ok(Job {
            bytes,
            command: Command::decode(&bytes, vram_size)?,
            done: 0,
            crc: 0,
        })
    }

    /// Creates a job that continues a saved one.
    pub(crate) fn restore(
        bytes: [u8; COMMAND_LEN],
        done: u32,
        crc: u32,
        vram_size: u32,
    ) -> Result<Self, &'static str> {
        let new = Self::new(bytes, vram_size);
        let job = new.map_err(|_| "a command in progress that is not valid")?;
        let begun = done > 0;
        require(
            !begun || done < job.command.len(),
            "a command that is further than its end",
        )?;
        let has_crc = begun && matches!(job.command, Command::Crc32c { .. });
        require(has_crc || crc == 0, "a checksum of nothing")?;
        Ok(Job { done, crc, ..job })
    }

    /// Returns the arguments for [`Self::restore`].
    pub(crate) fn parts(&self) -> ([u8; COMMAND_LEN], u32, u32) {
        (self.bytes, self.done, self.crc)
    }
}
