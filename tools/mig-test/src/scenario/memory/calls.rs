// SPDX-License-Identifier: GPL-2.0
//! Copies and pins of any place and length, and those that must be refused.

use anyhow::Result;
use rustix::io::Errno;

use super::card::{iova, pattern, Card, Channel, Kind, IOVA, PAGES, READ_ONLY};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::dma::PAGE;

const END: u64 = IOVA + (PAGES * PAGE) as u64;

/// Places and lengths: within a page, at its ends, across one and several.
const PLACES: [(usize, usize); 7] = [
    (0, 1),
    (PAGE - 1, 1),
    (PAGE - 1, 2),
    (100, PAGE),
    (3 * PAGE, PAGE),
    (5 * PAGE + 1, 2 * PAGE - 1),
    (PAGES * PAGE - 8000, 8000),
];

/// Ranges that nobody may reach, for any purpose, and their error.
fn bad(len: usize) -> [(&'static str, u64, usize, Errno); 6] {
    [
        ("a length of zero", IOVA, 0, Errno::INVAL),
        ("the last byte and more", u64::MAX, 2, Errno::INVAL),
        ("a wrap", u64::MAX - len as u64 / 2, len, Errno::INVAL),
        ("a hole", END + PAGE as u64, len, Errno::INVAL),
        ("memory that ends", END - len as u64 + 1, len, Errno::INVAL),
        ("memory that begins later", IOVA - 1, len, Errno::INVAL),
    ]
}

/// `read` and `write`.
pub fn copies(checks: &mut Checks, card: &Card) -> Result<()> {
    let channel = card.channel(0);
    for (at, len) in PLACES {
        let what = format!("{len} bytes at {at:#x}");
        let there = card.contents(at, len);
        checks.equal(
            format!("read of {what}"),
            channel.read(iova(at), len),
            Ok(there),
        );
        let mut right = card.contents(0, PAGES * PAGE);
        let bytes: Vec<u8> = pattern(len).iter().map(|byte| byte ^ 0xff).collect();
        right[at..at + len].copy_from_slice(&bytes);
        let written = channel.write(iova(at), &bytes);
        checks.equal(format!("write of {what}"), written, Ok(()));
        let exact = card.contents(0, PAGES * PAGE) == right;
        checks.that(format!("write of {what} has changed something else"), exact);
    }
    let before = card.contents(0, PAGES * PAGE);
    let nothing = pinned()?;
    for (what, iova, len, error) in bad(5000) {
        checks.refused(format!("read of {what}"), channel.read(iova, len), error);
        let answer = channel.write(iova, &vec![1; len]);
        checks.refused(format!("write of {what}"), answer, error);
    }
    let read_only = channel.read(READ_ONLY, 100);
    checks.equal("read of what may be read", read_only, Ok(pattern(100)));
    let answer = channel.write(READ_ONLY, &[1]);
    checks.refused("write of what may be read", answer, Errno::PERM);
    checks.equal("pages pinned by copies", pinned()?, nothing);
    // What was written of the memory that ends, or that begins later, is in its own page.
    let now = card.contents(0, PAGES * PAGE);
    let inside = PAGE..(PAGES - 2) * PAGE;
    let same = before[inside.clone()] == now[inside];
    checks.that("a write that is refused has changed other memory", same);
    card.guest.write(0, &pattern(PAGES * PAGE));
    Ok(())
}

/// `pin_read`, `pin_write`, `pin_dma`, `pin_dma_read` and what their guards can do.
pub fn pins(checks: &mut Checks, card: &Card) -> Result<()> {
    let channel = card.channel(0);
    let nothing = pinned()?;
    let long = [(0, PAGES * PAGE), (PAGE / 2, 512 * PAGE), (7, 1025 * PAGE)];
    for kind in Kind::ALL {
        for (at, len) in PLACES.into_iter().chain(long) {
            let what = format!("{kind:?} pin of {len} bytes at {at:#x}");
            checks.equal(&what, channel.pin(kind, iova(at), len), Ok(()));
            let pages = (at + len).div_ceil(PAGE) - at / PAGE;
            checks.equal(format!("{what}: pages"), pinned()? - nothing, pages as i64);
            guard(checks, card, channel, (kind, at, len))?;
            checks.equal(format!("{what}: unpin"), channel.unpin(), Ok(()));
            checks.equal(format!("{what}: pages left"), pinned()?, nothing);
        }
        // More than the kernel pins in one call, of which a first part is there.
        for (what, iova, len, error) in bad(5000).into_iter().chain(bad(1000 * PAGE)) {
            let what = format!("{kind:?} pin of {what}, {len} bytes");
            checks.refused(&what, channel.pin(kind, iova, len), error);
            checks.equal(format!("{what}: pages left"), pinned()?, nothing);
        }
        let whole = channel.pin(kind, 0, usize::MAX);
        checks.refused(format!("{kind:?} pin of everything"), whole, Errno::INVAL);
        let answer = channel.pin(kind, READ_ONLY, 2 * PAGE);
        let right = match kind {
            Kind::Read | Kind::DmaRead => Ok(()),
            Kind::Write | Kind::Dma => Err(Errno::PERM),
        };
        checks.equal(format!("{kind:?} pin of what may be read"), answer, right);
        channel.unpin()?;
        checks.equal(format!("{kind:?}: pages left"), pinned()?, nothing);
    }
    overlap(checks, card)
}

/// Accesses through a guard.
fn guard(
    checks: &mut Checks,
    card: &Card,
    channel: Channel,
    (kind, at, len): (Kind, usize, usize),
) -> Result<()> {
    let what = format!("{kind:?} guard of {len} bytes at {at:#x}");
    let some = len.min(6000);
    for offset in [0, len - some] {
        let there = card.contents(at + offset, some);
        let read = channel.kept_read(offset, some);
        checks.equal(format!("{what}: read at {offset}"), read, Ok(there));
    }
    let beyond = [(len - some, some + 1), (len, 1), (usize::MAX, 1)];
    for (offset, some) in beyond {
        let read = channel.kept_read(offset, some);
        checks.refused(format!("{what}: read beyond"), read, Errno::INVAL);
    }
    match kind {
        Kind::Read => {}
        Kind::Write => {
            let before = card.contents(at, len);
            for (offset, some) in beyond {
                let answer = channel.kept_write(offset, &vec![0xee; some]);
                checks.refused(format!("{what}: write beyond"), answer, Errno::INVAL);
            }
            let same = card.contents(at, len) == before;
            checks.that(format!("{what}: a refused write has written"), same);
            let bytes = vec![0x5c; some];
            let answer = channel.kept_write(len - some, &bytes);
            checks.equal(format!("{what}: write"), answer, Ok(()));
            let there = card.contents(at + len - some, some) == bytes;
            checks.that(format!("{what}: a write is not in memory"), there);
        }
        Kind::Dma | Kind::DmaRead => {
            let pages = ((at + len).div_ceil(PAGE) - at / PAGE) as u32;
            checks.equal(format!("{what}: walk"), channel.kept_walk(), Ok(pages));
            checks.equal(format!("{what}: start"), channel.kept_start(), Ok(()));
        }
    }
    Ok(())
}

/// Guards of the same pages are each other's equals.
fn overlap(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let (first, second) = (card.channel(0), card.channel(1));
    first.pin(Kind::Write, iova(0), 4 * PAGE)?;
    second.pin(Kind::Dma, iova(2 * PAGE), 4 * PAGE)?;
    first.unpin()?;
    checks.equal("pages of the second guard", pinned()? - nothing, 4);
    checks.equal("the second guard", second.kept_walk(), Ok(4));
    second.unpin()?;
    checks.equal("pages of neither guard", pinned()?, nothing);
    first.pin(Kind::Read, iova(0), PAGE)?;
    card.device.reset()?;
    checks.equal("pages pinned after a reset", pinned()?, nothing);
    checks.refused("a guard after a reset", first.kept_read(0, 1), Errno::NOENT);
    Ok(())
}
