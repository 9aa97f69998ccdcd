// SPDX-License-Identifier: GPL-2.0
//! The two sources of dirty pages of guest memory, with one interface.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::device::Device;
use super::dma::PAGE;

/// The source of dirty pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Account {
    /// The type1 container, for all devices in it.
    #[serde(rename = "type1 container")]
    Container,
    /// The device.
    #[serde(rename = "DMA log")]
    Log,
}

impl Account {
    /// Returns its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Account::Container => "type1 container",
            Account::Log => "DMA log",
        }
    }

    /// Starts it for a range of guest memory.
    pub fn start(self, device: &Device, iova: u64, len: usize) -> Result<()> {
        match self {
            Account::Container => device.group()?.track_dirty(true)?,
            Account::Log => {
                device.start_log(PAGE as u64, &[(iova, len as u64)])?;
            }
        }
        Ok(())
    }

    /// Stops it.
    pub fn stop(self, device: &Device) -> Result<()> {
        match self {
            Account::Container => device.group()?.track_dirty(false)?,
            Account::Log => device.stop_log()?,
        }
        Ok(())
    }

    /// Returns the dirty pages of a range, counted from its first, and marks them clean. In a
    /// container, pinned pages stay dirty.
    pub fn take(self, device: &Device, iova: u64, len: usize) -> Result<BTreeSet<usize>> {
        let dirty = match self {
            Account::Container => device.group()?.take_dirty(iova, len)?,
            Account::Log => device.take_log(iova, len, PAGE)?,
        };
        Ok(dirty.into_iter().collect())
    }
}
