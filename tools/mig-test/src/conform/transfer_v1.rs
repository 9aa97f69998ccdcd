// SPDX-License-Identifier: GPL-2.0
//! Moves a device at work to another one through protocol v1.

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::play::Player;
use super::transfer::{failed, sound, Move, Moved, LARGE};
use super::way::Way;
use crate::vfio::v1::{bits, Way as Window};

impl Move<'_> {
    /// Saves through protocol v1, and checks the source meanwhile.
    pub(super) fn save_v1(&self, player: &mut Player<'_>) -> Moved<Vec<u8>> {
        let source = self.source;
        let region = source
            .device
            .migration_region()?
            .context("there is no migration region")?;
        let mut stream = Vec::new();
        if self.way != Way::V1 {
            sound!(region
                .set_state(bits::PRE_COPY)
                .map_err(failed("PRE_COPY of v1")));
            let mut take = || -> Result<(), Errno> {
                for _ in 0..16 {
                    if region.pending()? == 0
                        || region.take_chunk(Window::Mapped, &mut stream)? == 0
                    {
                        break;
                    }
                }
                Ok(())
            };
            sound!(take().map_err(failed("a chunk of pre-copy")));
            if self.way.is_cancelled() {
                sound!(region
                    .set_state(bits::RUNNING)
                    .map_err(failed("RUNNING after PRE_COPY of v1")));
                return Ok(Ok(stream));
            }
            if let Some(fault) = player.play(source, player.done + 1)? {
                return Ok(Err(fault));
            }
        } else {
            sound!(region.set_state(bits::STOP).map_err(failed("STOP of v1")));
        }
        sound!(region
            .set_state(bits::STOP_COPY)
            .map_err(failed("STOP_COPY of v1")));
        player.arrived.add(&source.signals()?);
        let before = self.memory()?;
        sound!(region
            .drain(Window::Mapped, &mut stream)
            .map_err(failed("a chunk of STOP_COPY")));
        sound!(region.set_state(bits::STOP).map_err(failed("STOP of v1")));
        sound!(self.is_quiet(&before)?);
        Ok(Ok(stream))
    }

    /// Loads through protocol v1, and lets the destination run.
    pub(super) fn load_v1(&self, stream: &[u8]) -> Moved<()> {
        let destination = self.destination;
        let region = destination.device.migration_region()?;
        let region = region.context("there is no migration region")?;
        sound!(region
            .set_state(bits::RESUMING)
            .map_err(failed("RESUMING of v1")));
        sound!(region
            .load(Window::Mapped, stream, &[LARGE])
            .map_err(failed("a chunk of a load")));
        sound!(region
            .set_state(bits::STOP)
            .map_err(failed("STOP after RESUMING of v1")));
        destination.listen(self.interrupt)?;
        sound!(region
            .set_state(bits::RUNNING)
            .map_err(failed("RUNNING of v1")));
        Ok(Ok(()))
    }
}
