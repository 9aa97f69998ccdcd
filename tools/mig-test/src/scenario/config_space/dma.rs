// SPDX-License-Identifier: GPL-2.0
//! Guest memory refuses a device that is not bus master, unless its identity says otherwise.

use anyhow::Result;
use rustix::io::Errno;

use super::card::{register, Card, MASTER, POWER_CONTROL};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::migration::State;

/// The calls that begin an access.
const FRESH: [(&str, u32); 4] = [
    ("read", register::READ),
    ("write", register::WRITE),
    ("pin", register::PIN),
    ("start of hardware", register::START),
];
/// Those through a guard.
const KEPT: [(&str, u32); 2] = [
    ("read through a guard", register::PINNED_READ),
    ("write through a guard", register::PINNED_WRITE),
];

/// Tests each call in each situation.
pub fn run(checks: &mut Checks) -> Result<()> {
    let before = pinned()?;
    let card = Card::new("express")?;
    all(checks, &card, "at the open", &FRESH, Err(Errno::IO));
    card.command(MASTER)?;
    all(checks, &card, "with the bit set", &FRESH, Ok(()));
    all(checks, &card, "with the bit set", &KEPT, Ok(()));
    card.command(MASTER & !4)?;
    let calls = [&FRESH[..], &KEPT].concat();
    card.guest.write(0, &[0]);
    all(checks, &card, "with the bit clear", &calls, Err(Errno::IO));
    let mut byte = [0];
    card.guest.read(0, &mut byte);
    checks.equal("what refused writes have written", byte, [0]);
    checks.equal("pages that stay pinned", pinned()? - before, 1);
    card.command(MASTER)?;
    all(checks, &card, "once it is set again", &calls, Ok(()));

    // The memory of a range that left while it was refused serves the next one.
    card.command(MASTER & !4)?;
    checks.equal(
        "unpin with the bit clear",
        card.call(register::UNPIN),
        Ok(()),
    );
    card.command(MASTER)?;
    checks.equal("pin afterwards", card.call(register::PIN), Ok(()));
    all(checks, &card, "of that pin", &KEPT, Ok(()));

    card.write(POWER_CONTROL, &[3])?;
    all(checks, &card, "in D3hot", &calls, Err(Errno::IO));
    card.write(POWER_CONTROL, &[0])?;
    all(checks, &card, "in D0 again", &calls, Ok(()));

    // Whatever the bit is, a quiesced device is refused as such; and it counts again afterwards.
    card.device.set_state(State::Stop)?;
    all(checks, &card, "in STOP", &calls, Err(Errno::BUSY));
    card.command(MASTER & !4)?;
    all(
        checks,
        &card,
        "in STOP, bit clear",
        &calls,
        Err(Errno::BUSY),
    );
    card.device.set_state(State::Running)?;
    all(checks, &card, "running, bit clear", &calls, Err(Errno::IO));
    card.command(MASTER)?;
    all(checks, &card, "running, bit set", &calls, Ok(()));
    card.device.reset()?;
    all(checks, &card, "after a reset", &FRESH, Err(Errno::IO));
    card.command(MASTER)?;
    card.reset_function()?;
    all(checks, &card, "after an FLR", &FRESH, Err(Errno::IO));
    drop(card);

    let free = Card::new("free")?;
    all(checks, &free, "of a free device", &calls, Ok(()));
    free.command(0)?;
    all(checks, &free, "of a free device, 0 written", &calls, Ok(()));
    free.call(register::UNPIN)?;
    checks.equal("pages still pinned", pinned()?, before);
    Ok(())
}

/// Checks the answer of each call.
fn all(
    checks: &mut Checks,
    card: &Card,
    when: &str,
    calls: &[(&str, u32)],
    answer: Result<(), Errno>,
) {
    for (name, call) in calls {
        checks.equal(format!("{name} {when}"), card.call(*call), answer);
    }
}
