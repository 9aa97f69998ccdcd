// SPDX-License-Identifier: GPL-2.0
//! Pins of I/O memory that user space has mapped for the device. A pin does not hold it, and the
//! kernel may have no mapping of it, so the SDK must refuse it.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::card::{Card, Kind};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::Mapping;

/// The firmware of a PC: it has a `struct page`, so type1 pins it, and `/dev/mem` maps it.
const FIRMWARE: u64 = 0xf_0000;
/// Its IOVA.
const AT: u64 = 0x3_0000_0000;
/// Pages of guest memory directly before it, in another mapping.
const BEFORE: usize = 3;

/// Pins I/O memory alone, and at the end of a range that begins in memory.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let file = File::options().read(true).write(true).open("/dev/mem");
    let file = file.context("/dev/mem")?;
    let firmware = Arc::new(Mapping::of_file(&file, FIRMWARE, PAGE)?);
    let space = &card.device.space;
    let map = |iova, memory, len| {
        space.map_dma(Dma {
            iova,
            memory,
            offset: 0,
            len,
            access: Access::ReadWrite,
        })
    };
    let first = AT - (BEFORE * PAGE) as u64;
    map(first, &card.guest, BEFORE * PAGE)?;
    map(AT, &firmware, PAGE)?;
    let channel = card.channel(0);
    for kind in Kind::ALL {
        let ranges = [("alone", AT, 8), ("after memory", first + 1, BEFORE * PAGE)];
        for (what, iova, len) in ranges {
            let what = format!("{kind:?} pin of I/O memory {what}");
            checks.refused(&what, channel.pin(kind, iova, len), Errno::FAULT);
            checks.equal(format!("{what}: pages left"), pinned()?, nothing);
        }
        let memory = channel.pin(kind, first, BEFORE * PAGE);
        checks.equal(format!("{kind:?} pin of the memory alone"), memory, Ok(()));
        channel.unpin()?;
    }
    space.unmap_dma(AT, PAGE)?;
    space.unmap_dma(first, BEFORE * PAGE)?;
    Ok(())
}
