// SPDX-License-Identifier: GPL-2.0
//! Mappings of guest memory that change while the device migrates, as with an IOMMU in the guest:
//! each unmap must report every page that the device has written. `unmap.rs` does the same with
//! running commands.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::card::{Card, Command};
use crate::event::Outcome;
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::device::Group;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::v1::bits;

/// Where the data is that comes and goes, beside the memory that stays.
const AREA: u64 = super::card::IOVA + (64 << 20);
/// Pages of it.
const PAGES: usize = 512;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    let mut checks = Checks::default();
    let before = pinned()?;
    let card = Card::started()?;
    let group = card.device.group()?;
    let region = card.device.migration_region()?;
    let region = region.context("the device has no migration region")?;

    ctx.step("unmapping without an account");
    let area = Area { card: &card, group };
    area.map(0..PAGES)?;
    let refused = group.unmap_dma_dirty(AREA, PAGES * PAGE).map(drop);
    checks.equal("a bitmap that nobody keeps", refused, Err(Errno::INVAL));
    group.unmap_dma(AREA, PAGES * PAGE)?;

    group.track_dirty(true)?;
    region.set_state(bits::PRE_COPY)?;
    ctx.step("several mappings in one report");
    several(&mut checks, &area)?;
    ctx.step("mappings that shrink, split and vanish");
    reshaped(&mut checks, &area)?;
    checks.equal("state after it", region.state(), Ok(bits::PRE_COPY));
    region.set_state(bits::RUNNING)?;
    group.track_dirty(false)?;
    checks.equal("pages still pinned", pinned()?, before);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// The memory that comes and goes: a part of guest memory once more.
struct Area<'a> {
    card: &'a Card,
    group: &'a Group,
}

impl Area<'_> {
    /// Where in guest memory it is: behind the ring and the fences.
    const OFFSET: usize = 1 << 20;

    fn map(&self, pages: Range<usize>) -> Result<()> {
        self.group.map_dma(Dma {
            iova: Self::iova(pages.start),
            memory: &self.card.guest,
            offset: Self::OFFSET + pages.start * PAGE,
            len: pages.len() * PAGE,
            access: Access::ReadWrite,
        })?;
        Ok(())
    }

    /// Takes memory away; its dirty pages, as pages of the area.
    fn unmap(&self, pages: Range<usize>) -> Result<BTreeSet<usize>> {
        let dirty = self
            .group
            .unmap_dma_dirty(Self::iova(pages.start), pages.len() * PAGE)?;
        Ok(dirty.into_iter().map(|page| page + pages.start).collect())
    }

    /// The dirty pages of mapped memory.
    fn dirty(&self, pages: Range<usize>) -> Result<BTreeSet<usize>> {
        let iova = Self::iova(pages.start);
        let dirty = self.group.take_dirty(iova, pages.len() * PAGE)?;
        Ok(dirty.into_iter().map(|page| page + pages.start).collect())
    }

    /// Has the device write something to each of the pages.
    fn write(&self, written: &[usize]) -> Result<BTreeSet<usize>> {
        let commands: Vec<Command> = written
            .iter()
            .map(|page| Command::fill_guest(Self::iova(*page) + 100, 40, 7))
            .collect();
        self.card.execute(&commands)?;
        Ok(written.iter().copied().collect())
    }

    fn iova(page: usize) -> u64 {
        AREA + (page * PAGE) as u64
    }
}

/// One report over several mappings, some of which touch and some do not, and an unmapping of
/// several.
///
/// Where a mapping begins inside of a word of the bitmap, type1 shifts its account to that place
/// and does not clear what the shift has moved beyond its end: later reports may have pages too
/// many. What counts is that none is missing.
fn several(checks: &mut Checks, area: &Area) -> Result<()> {
    let words = [0..64, 64..128, 128..256, 320..PAGES];
    let odd = [0..65, 65..70, 70..200, 300..PAGES];
    for (maps, exact) in [(words, true), (odd, false)] {
        let ends: Vec<usize> = maps
            .iter()
            .flat_map(|map| [map.start, map.end - 1])
            .collect();
        for map in &maps {
            area.map(map.clone())?;
        }
        let mut reports = |what: &str, found: BTreeSet<usize>, wanted: &BTreeSet<usize>| {
            let right = match exact {
                true => found == *wanted,
                false => found.is_superset(wanted),
            };
            checks.that(
                format!("{what} of {maps:?}: {found:?} instead of {wanted:?}"),
                right,
            );
        };
        let written = area.write(&ends)?;
        reports("one report", area.dirty(0..PAGES)?, &written);
        reports("a second one", area.dirty(0..PAGES)?, &BTreeSet::new());
        let written = area.write(&ends)?;
        // A report begins where a mapping does and ends where one does.
        let part = maps[1].start..maps[2].end;
        let (inside, outside) = written.iter().partition(|page| part.contains(page));
        reports("a report of two", area.dirty(part.clone())?, &inside);
        reports("the unmapping", area.unmap(0..PAGES)?, &outside);
    }
    Ok(())
}

/// What is dirty of a mapping is reported when it goes, also if a part of it comes back, and what
/// came back is clean.
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a mapping of one part is meant"
)]
fn reshaped(checks: &mut Checks, area: &Area) -> Result<()> {
    let shapes: [(&str, &[Range<usize>]); 3] = [
        ("shrinks", &[0..100]),
        ("splits", &[0..200, 201..PAGES]),
        ("vanishes", &[]),
    ];
    for (what, parts) in shapes {
        area.map(0..PAGES)?;
        let written = area.write(&[1, 99, 100, 200, PAGES - 1])?;
        let gone = area.unmap(0..PAGES)?;
        checks.equal(format!("a mapping that {what}"), gone, written);
        for part in parts {
            area.map(part.clone())?;
            let left = area.dirty(part.clone())?;
            checks.equal(format!("{part:?} of it"), left, BTreeSet::new());
            let written = area.write(&[part.start, part.end - 1])?;
            let gone = area.unmap(part.clone())?;
            checks.equal(format!("{part:?} of it, written again"), gone, written);
        }
    }
    Ok(())
}
