// SPDX-License-Identifier: GPL-2.0
//! Arrays of structures: what is read and written, what is pinned for it, and memory that goes.

use anyhow::Result;
use rustix::io::Errno;

use super::card::{iova, pattern, register, Card, Kind, IOVA, PAGES, READ_ONLY};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::dma::PAGE;

use register::{ENTRY_LEN, FLAG_AT, STATUS_AT};

/// Where the array begins: 8 bytes into a page, so that an entry of each second page is on two.
const AT: usize = 60 * PAGE + 8;
/// Its entries, on four pages.
const ENTRIES: usize = 600;
/// The entry that is on the first page and the second: at 4088 of the first.
const ACROSS: usize = 170;

/// Offset of an entry in guest memory.
fn place(index: usize) -> usize {
    AT + index * ENTRY_LEN
}

/// Makes every call of arrays and values.
pub fn run(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    // No flag of an entry is anything but 0 or 1.
    card.guest.write(AT, &vec![1; ENTRIES * ENTRY_LEN]);
    values(checks, card)?;
    entries(checks, card)?;
    checks.equal("pages pinned after entries", pinned()?, nothing);
    bounds(checks, card)?;
    memory_that_goes(checks, card)?;
    quiesced(checks, card)?;
    card.guest.write(0, &pattern(PAGES * PAGE));
    checks.equal("pages pinned after arrays", pinned()?, nothing);
    Ok(())
}

/// An entry that no other is equal to.
fn entry(number: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..ENTRY_LEN as u8).map(|at| at ^ number).collect();
    bytes[FLAG_AT] = number & 1;
    bytes
}

fn values(checks: &mut Checks, card: &Card) -> Result<()> {
    let channel = card.channel(0);
    for (number, offset) in [place(2), place(ACROSS) + 1].into_iter().enumerate() {
        let bytes = entry(number as u8);
        channel.put(&bytes)?;
        channel.call(register::VALUE_WRITE, iova(offset), 0, 0)?;
        let there = card.contents(offset - 1, ENTRY_LEN + 2);
        checks.equal("a value written", &there[1..=ENTRY_LEN], &bytes[..]);
        checks.equal("bytes around it", [there[0], there[ENTRY_LEN + 1]], [1, 1]);
        channel.put(&[0; ENTRY_LEN])?;
        channel.call(register::VALUE_READ, iova(offset), 0, 0)?;
        checks.equal("the value read", channel.take(ENTRY_LEN), Ok(bytes));
        card.guest.write(offset, &[1; ENTRY_LEN]);
    }
    card.guest.write(place(1) + FLAG_AT, &[2]);
    let read = channel.call(register::VALUE_READ, iova(place(1)), 0, 0);
    checks.refused("a value with a wrong flag", read, Errno::BADMSG);
    card.guest.write(place(1) + FLAG_AT, &[1]);
    Ok(())
}

/// Reads and writes entries one after the other, on one page and on two.
fn entries(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let channel = card.channel(0);
    channel.array(Kind::Write, iova(AT), ENTRIES)?;
    checks.equal("pages pinned for a new array", pinned()?, nothing);
    // What is pinned for an entry on two pages serves those on either of them.
    let order = [
        (0, 1),
        (ACROSS - 1, 1),
        (ACROSS, 2),
        (ACROSS + 1, 2),
        (1, 2),
        (ENTRIES - 1, 1),
    ];
    for (number, (index, right)) in order.into_iter().enumerate() {
        let bytes = entry(number as u8);
        let around = |card: &Card| {
            let mut around = card.contents(place(index) - 8, ENTRY_LEN + 16);
            around.drain(8..8 + ENTRY_LEN);
            around
        };
        let before = around(card);
        channel.set_entry(index, &bytes)?;
        let there = card.contents(place(index), ENTRY_LEN);
        checks.equal(format!("entry {index}"), there, bytes.clone());
        checks.equal(format!("bytes around entry {index}"), around(card), before);
        let read = channel.entry(index);
        checks.equal(format!("entry {index} read"), read, Ok(bytes.clone()));
        let pages = pinned()? - nothing;
        checks.equal(format!("pages pinned for entry {index}"), pages, right);

        let status = u16::from_le_bytes([bytes[STATUS_AT], bytes[STATUS_AT + 1]]);
        let read = channel.status(index);
        checks.equal(format!("status {index}"), read, Ok(status.into()));
        channel.set_status(index, 0xa55a)?;
        let mut right = bytes;
        right[STATUS_AT..][..2].copy_from_slice(&[0x5a, 0xa5]);
        let there = card.contents(place(index), ENTRY_LEN);
        checks.equal(format!("status {index} written"), there, right);
    }
    channel.release_array()?;
    checks.equal("pages pinned after a release", pinned()?, nothing);
    checks.that("no entry after a release", channel.entry(0).is_ok());
    checks.equal("pages pinned again", pinned()? - nothing, 1);
    // The other kind reads the same, also where nothing else is allowed.
    channel.array(Kind::Read, iova(AT), ENTRIES)?;
    checks.equal("pages pinned for another array", pinned()?, nothing);
    let there = card.contents(place(ACROSS), ENTRY_LEN);
    checks.equal(
        "an entry that is only read",
        channel.entry(ACROSS),
        Ok(there),
    );
    let write = channel.set_status(0, 1);
    checks.refused("a write of what is only read", write, Errno::NOENT);
    channel.unpin()?;
    Ok(())
}

/// What is no array, no entry of one, or no memory.
fn bounds(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let channel = card.channel(0);
    let all = u64::MAX as usize;
    for (what, iova, len) in [
        ("no entries", iova(AT), 0),
        ("too many entries", iova(AT), all),
        ("too many bytes", iova(AT), all / ENTRY_LEN + 1),
        ("a byte too many", u64::MAX - ENTRY_LEN as u64 + 2, 1),
    ] {
        for kind in [Kind::Read, Kind::Write] {
            let made = channel.array(kind, iova, len);
            checks.refused(format!("an array with {what}"), made, Errno::INVAL);
        }
    }
    // As long as an array can be: none of its pages is touched before an entry is.
    channel.array(Kind::Write, IOVA, (u64::MAX - IOVA) as usize / ENTRY_LEN)?;
    let last = (u64::MAX - IOVA) as usize / ENTRY_LEN - 1;
    for (what, index) in [("that has no memory", last), ("beyond the last", last + 1)] {
        let read = channel.entry(index);
        checks.refused(format!("an entry {what}"), read, Errno::INVAL);
    }
    // Where there is memory behind the last one.
    channel.array(Kind::Write, iova(AT), ENTRIES)?;
    for index in [ENTRIES, ENTRIES + 1] {
        let read = channel.entry(index);
        checks.refused("an entry behind the last", read, Errno::INVAL);
        let write = channel.set_status(index, 1);
        checks.refused("a write behind the last", write, Errno::INVAL);
    }
    channel.array(Kind::Write, READ_ONLY, 8)?;
    checks.refused("a read for writing", channel.entry(0), Errno::PERM);
    checks.refused("a write", channel.set_status(0, 1), Errno::PERM);
    channel.array(Kind::Read, READ_ONLY, 8)?;
    // The pattern has a flag that is none.
    checks.refused("a wrong flag", channel.entry(1), Errno::BADMSG);
    let status = u32::from_le_bytes([0, 0, 0, 0]) | u32::from(status_of_pattern(1));
    checks.equal("a field beside it", channel.status(1), Ok(status));
    channel.unpin()?;
    checks.equal("pages pinned after refusals", pinned()?, nothing);
    Ok(())
}

/// The status of an entry of memory that is only read.
fn status_of_pattern(index: usize) -> u16 {
    let at = index * ENTRY_LEN + STATUS_AT;
    let bytes = pattern(at + 2);
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Memory is unmapped while its page is pinned for an array, and mapped again.
fn memory_that_goes(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let channel = card.channel(0);
    for kind in [Kind::Write, Kind::Read] {
        channel.array(kind, iova(AT), ENTRIES)?;
        channel.entry(0)?;
        card.unmap(0, PAGES)?;
        checks.equal("pages pinned after an unmap", pinned()?, nothing);
        checks.refused("an entry unmapped", channel.entry(0), Errno::INVAL);
        card.map(0, PAGES)?;
        card.guest.write(place(0), &entry(9));
        let read = channel.entry(0);
        checks.equal("an entry mapped again", read, Ok(entry(9)));
        // With no access in between.
        card.unmap(0, PAGES)?;
        card.map(0, PAGES)?;
        let read = channel.status(0);
        let status = u16::from_le_bytes([entry(9)[STATUS_AT], entry(9)[STATUS_AT + 1]]);
        checks.equal("a field mapped again", read, Ok(status.into()));
        checks.equal("pages pinned again", pinned()? - nothing, 1);
    }
    channel.unpin()?;
    Ok(())
}

/// A device that is quiesced has no entry, and has it again when it runs.
fn quiesced(checks: &mut Checks, card: &Card) -> Result<()> {
    use crate::vfio::migration::State;

    let channel = card.channel(0);
    channel.array(Kind::Write, iova(AT), ENTRIES)?;
    channel.set_entry(3, &entry(4))?;
    card.device.set_state(State::Stop)?;
    for index in [3, ENTRIES - 1] {
        let read = channel.entry(index);
        checks.refused("an entry while stopped", read, Errno::BUSY);
    }
    let write = channel.set_entry(3, &entry(5));
    checks.refused("a write while stopped", write, Errno::BUSY);
    card.device.set_state(State::Running)?;
    checks.equal("an entry afterwards", channel.entry(3), Ok(entry(4)));
    channel.unpin()?;
    Ok(())
}

/// What the device's log says of an array: the pages of the entries that were written.
pub fn log(checks: &mut Checks, card: &Card) -> Result<()> {
    card.guest.write(AT, &vec![1; ENTRIES * ENTRY_LEN]);
    let channel = card.channel(0);
    let all = (IOVA, (PAGES * PAGE) as u64);
    card.device.start_log(PAGE as u64, &[all])?;
    let page = AT / PAGE;
    let dirty = |card: &Card| card.device.take_log(IOVA, PAGES * PAGE, PAGE);
    channel.array(Kind::Write, iova(AT), ENTRIES)?;
    channel.entry(0)?;
    channel.entry(ACROSS)?;
    checks.equal("dirty: entries read", dirty(card)?, vec![]);
    channel.set_status(0, 7)?;
    checks.equal("dirty: a field written", dirty(card)?, vec![page]);
    channel.set_entry(ACROSS, &entry(1))?;
    let right = vec![page, page + 1];
    checks.equal("dirty: an entry on two pages", dirty(card)?, right);
    channel.release_array()?;
    checks.equal("dirty: after a release", dirty(card)?, vec![]);
    channel.unpin()?;
    card.device.stop_log()?;
    card.guest.write(0, &pattern(PAGES * PAGE));
    Ok(())
}
