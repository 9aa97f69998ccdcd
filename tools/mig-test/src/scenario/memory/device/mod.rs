// SPDX-License-Identifier: GPL-2.0
//! The SDK's `DeviceMemory`, call by call: writes, clears, and the dirty pages of a session. The
//! device has memory behind BARs 1 and 2; every call is for that of BAR 1.

mod memory;

use anyhow::{ensure, Result};
use rustix::io::Errno;

use self::memory::{pages, Memory, SIZE};
use super::card::{pattern, Card};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;

/// A test, with a card of its own.
type Test = fn(&mut Checks, Card) -> Result<()>;

const TESTS: [(&str, Test); 7] = [
    ("bytes that are copied, and places beyond the end", bounds),
    ("a session begins with what is not zero", begin),
    ("runs of dirty pages", runs),
    ("clearing during a session and before one", clear),
    ("contents that arrive in a stream", replace),
    ("user space's accesses to the BAR", bar),
    ("one memory behind two BARs", two_bars),
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let mut checks = Checks::default();
    for (name, test) in TESTS {
        ctx.step(name);
        test(&mut checks, Card::new(Device::open, 1)?)?;
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// What user space reads in a BAR.
fn contents(card: &Card, bar: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; SIZE];
    let read = card
        .device
        .read(card.device.region(bar, None)?.offset, &mut bytes)?;
    ensure!(read == SIZE, "{read} bytes of BAR {bar}");
    Ok(bytes)
}

/// Places and lengths: within a page, at its ends, across one, at the end of the memory.
const PLACES: [(usize, usize); 6] = [
    (0, 1),
    (PAGE - 1, 2),
    (2 * PAGE + 100, PAGE),
    (5 * PAGE, PAGE),
    (7 * PAGE + 1, 2 * PAGE - 1),
    (SIZE - 2 * PAGE, 2 * PAGE),
];

/// Places that are not inside, or not all of them.
const BEYOND: [(usize, usize); 5] = [
    (SIZE, 1),
    (SIZE - 1, 2),
    (SIZE - PAGE + 1, PAGE),
    (usize::MAX, 1),
    (usize::MAX - 1, 2),
];

fn bounds(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    checks.that(
        "it does not begin as zeros",
        contents(&card, 1)? == [0; SIZE],
    );
    for (at, len) in BEYOND {
        let what = format!("{len} bytes at {at:#x}");
        let answer = memory.write(at, &vec![1; len]);
        checks.refused(format!("write of {what}"), answer, Errno::INVAL);
        checks.refused(
            format!("read of {what}"),
            memory.read(at, len),
            Errno::INVAL,
        );
    }
    checks.equal("nothing at the end", memory.write(SIZE, &[]), Ok(()));
    checks.that(
        "a refused write has written",
        contents(&card, 1)? == [0; SIZE],
    );
    checks.equal("used by refused writes", memory.used_bytes()?, 0);
    let mut right = vec![0; SIZE];
    for (at, len) in PLACES {
        let what = format!("{len} bytes at {at:#x}");
        let bytes: Vec<u8> = pattern(len).iter().map(|byte| byte ^ 0xff).collect();
        right[at..at + len].copy_from_slice(&bytes);
        checks.equal(format!("write of {what}"), memory.write(at, &bytes), Ok(()));
        checks.equal(format!("read of {what}"), memory.read(at, len), Ok(bytes));
        let exact = contents(&card, 1)? == right;
        checks.that(format!("write of {what} has changed something else"), exact);
    }
    // Of those places: 0, 1; 2, 3; 5; 7, 8; 14, 15.
    checks.equal("used", memory.used_bytes()?, 9 * PAGE);
    Ok(())
}

fn begin(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    memory.start_tracking()?;
    checks.equal("dirty pages of zeros", memory.take_all(SIZE)?, Vec::new());
    memory.write(4 * PAGE - 1, &[1, 2])?;
    for session in ["first", "second"] {
        memory.start_tracking()?;
        let what = format!("the {session} session");
        checks.equal(format!("{what}: bytes"), memory.dirty_bytes(0)?, 2 * PAGE);
        checks.equal(&what, memory.take_all(SIZE)?, pages(Some(3..5)));
        checks.equal(format!("{what}: left"), memory.dirty_bytes(0)?, 0);
        checks.equal(format!("{what}: again"), memory.take_dirty(0, SIZE)?, None);
    }
    memory.touch(&[3, 6])?;
    let dirty = memory.take_all(SIZE)?;
    checks.equal("written in a session", dirty, pages([3..4, 6..7]));
    Ok(())
}

fn runs(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    memory.touch(&[15, 6, 1, 5, 2, 0])?;
    let all = [
        (SIZE, pages([0..3, 5..7, 15..16])),
        (usize::MAX, pages([0..3, 5..7, 15..16])),
        (2 * PAGE, pages([0..2, 2..3, 5..7, 15..16])),
        (2 * PAGE - 1, pages([0..1, 1..2, 2..3, 5..6, 6..7, 15..16])),
        (0, pages([0..1, 1..2, 2..3, 5..6, 6..7, 15..16])),
    ];
    for (most, right) in all {
        memory.start_tracking()?;
        let found = memory.take_all(most)?;
        checks.equal(format!("runs of at most {most} bytes"), found, right);
    }
    memory.start_tracking()?;
    let behind = [
        (0, 6),
        (1, 5),
        (PAGE, 5),
        (5 * PAGE + 1, 2),
        (15 * PAGE, 1),
        (15 * PAGE + 1, 0),
        (SIZE, 0),
        (usize::MAX, 0),
    ];
    for (from, dirty) in behind {
        let found = memory.dirty_bytes(from)?;
        checks.equal(format!("dirty behind {from:#x}"), found, dirty * PAGE);
    }
    // From within a page of a run, and what is before stays dirty.
    let run = memory.take_dirty(5 * PAGE + 1, SIZE)?;
    checks.equal("a run from within", run, Some(6 * PAGE..7 * PAGE));
    checks.equal("none at the end", memory.take_dirty(SIZE, SIZE)?, None);
    let left = memory.take_all(SIZE)?;
    checks.equal("runs left", left, pages([0..3, 5..6, 15..16]));
    Ok(())
}

fn clear(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    memory.touch(&[1, 3, 4])?;
    memory.start_tracking()?;
    let first = memory.take_dirty(0, PAGE)?;
    checks.equal("the first page", first, Some(PAGE..2 * PAGE));
    checks.equal("clear", memory.clear(), Ok(()));
    checks.that(
        "a cleared page is not zero",
        contents(&card, 1)? == [0; SIZE],
    );
    checks.equal("used when cleared", memory.used_bytes()?, 0);
    // Also the page that the session has sent already.
    let dirty = memory.take_all(SIZE)?;
    checks.equal("what was not zero", dirty, pages([1..2, 3..5]));
    memory.clear()?;
    checks.equal("zeros that are cleared", memory.take_all(SIZE)?, Vec::new());
    memory.touch(&[6, 8])?;
    memory.clear()?;
    memory.touch(&[8, 9])?;
    checks.equal("used after a clear", memory.used_bytes()?, 2 * PAGE);
    let dirty = memory.take_all(SIZE)?;
    checks.equal("before and after a clear", dirty, pages([6..7, 8..10]));
    memory.clear()?;
    memory.start_tracking()?;
    let dirty = memory.take_all(SIZE)?;
    checks.equal("of a session after a clear", dirty, Vec::new());
    Ok(())
}

fn replace(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    memory.touch(&[0, 7])?;
    memory.start_tracking()?;
    memory.take_all(SIZE)?;
    let (before, page) = (contents(&card, 1)?, pattern(PAGE));
    let beyond = memory.replace(&page, &[1, SIZE / PAGE]);
    checks.refused("contents beyond the end", beyond, Errno::INVAL);
    let same = contents(&card, 1)? == before;
    checks.that("refused contents have changed something", same);
    checks.equal("used after a refusal", memory.used_bytes()?, 2 * PAGE);
    checks.equal("dirty after a refusal", memory.dirty_bytes(0)?, 0);

    checks.equal("a commit", memory.replace(&page, &[2, 7, 15]), Ok(()));
    let mut right = vec![0; SIZE];
    for at in [2, 7, 15] {
        right[at * PAGE..][..PAGE].copy_from_slice(&page);
    }
    checks.that("other contents", contents(&card, 1)? == right);
    checks.equal("used after the commit", memory.used_bytes()?, 3 * PAGE);
    let dirty = memory.take_all(SIZE)?;
    let right = pages([0..1, 2..3, 7..8, 15..16]);
    checks.equal("changed by the commit", dirty, right);
    memory.start_tracking()?;
    let used = memory.take_all(SIZE)?;
    checks.equal("pages of the commit", used, pages([2..3, 7..8, 15..16]));

    let part = memory.replace(&page[..100], &[7]);
    checks.equal("a commit of a part of a page", part, Ok(()));
    let mut right = vec![0; SIZE];
    right[7 * PAGE..][..100].copy_from_slice(&page[..100]);
    checks.that(
        "something remains beside the part",
        contents(&card, 1)? == right,
    );
    checks.equal("used by the part", memory.used_bytes()?, PAGE);
    Ok(())
}

/// Mapped and trapped.
fn bar(checks: &mut Checks, card: Card) -> Result<()> {
    let memory = Memory::of(&card);
    let [first, second] = [1, 2].map(|bar| card.device.region(bar, None));
    let (first, second) = (first?.offset, second?.offset);
    let mapped = card.device.map(first, SIZE)?;
    let bytes = |offset| {
        let mut bytes = [0; 4];
        mapped.read(offset, &mut bytes);
        bytes
    };
    memory.write(3 * PAGE + 5, &[1, 2, 3, 4])?;
    checks.equal("mapped", bytes(3 * PAGE + 5), [1, 2, 3, 4]);
    let trapped = &contents(&card, 1)?[3 * PAGE + 5..][..4];
    checks.equal("trapped", trapped, &[1, 2, 3, 4]);
    checks.that("it is in BAR 2 too", contents(&card, 2)? == [0; SIZE]);
    memory.take_all(SIZE)?;
    checks.equal("a page of zeros", bytes(9 * PAGE), [0; 4]);
    checks.equal("dirty by reads", memory.dirty_bytes(0)?, 0);
    card.device.write(first + 9 * PAGE as u64, &[5; 4])?;
    checks.equal("a trapped write", memory.read(9 * PAGE, 4), Ok(vec![5; 4]));
    checks.equal("its page", memory.take_all(SIZE)?, pages(Some(9..10)));
    for byte in [6, 7] {
        mapped.write(9 * PAGE, &[byte; 4]);
        mapped.write(10 * PAGE - 4, &[byte; 4]);
        let read = memory.read(9 * PAGE, 4);
        checks.equal("a write to the mapping", read, Ok(vec![byte; 4]));
        checks.equal("its page", memory.take_all(SIZE)?, pages(Some(9..10)));
    }
    mapped.write(9 * PAGE, &[8]);
    memory.clear()?;
    checks.equal("cleared, mapped", bytes(9 * PAGE), [0; 4]);
    memory.take_all(SIZE)?;
    mapped.write(9 * PAGE, &[9]);
    checks.equal("used after a clear", memory.used_bytes()?, PAGE);
    checks.equal(
        "written after a clear",
        memory.take_all(SIZE)?,
        pages(Some(9..10)),
    );
    card.device.map(second, SIZE)?.write(0, &[10]);
    checks.equal("dirty by BAR 2", memory.dirty_bytes(0)?, 0);
    checks.equal("a write to BAR 2", contents(&card, 2)?[0], 10);
    Ok(())
}

/// Tests one memory behind two BARs: writes through one of them would be missed, so the open must
/// fail, and leave nothing behind.
fn two_bars(checks: &mut Checks, card: Card) -> Result<()> {
    let (answer, card) = card.reopen_with_one_memory()?;
    checks.refused("an open", answer, Errno::BUSY);
    bar(checks, card)
}
