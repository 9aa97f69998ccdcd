// SPDX-License-Identifier: GPL-2.0
//! A function-level reset is VFIO_DEVICE_RESET: in each state, it ends a session and starts anew.

use anyhow::Result;
use rustix::io::Errno;

use super::card::{register, Card, DEVICE_CONTROL, MAILBOX, MASTER, POWER_CONTROL};
use crate::scenario::conformance::checks::Checks;
use crate::vfio::migration::State;

/// Resets a device in each state and in each way.
pub fn run(checks: &mut Checks) -> Result<()> {
    let card = Card::new("express")?;
    let new = card.space()?;
    for state in State::TARGETS {
        let what = |text: &str| format!("{text} after a reset in {state:?}");
        card.device.reset()?;
        card.command(MASTER)?;
        card.write(MAILBOX, &[1, 2, 3, 4])?;
        let resets = card.get(register::RESETS)?;
        let file = card.device.set_state(state)?;
        let calls = card.get(register::CALLS)?;
        checks.equal(what("bytes written"), card.reset_function(), Ok(2));
        checks.equal(what("state"), card.device.state(), Ok(State::Running));
        checks.that(what("another configuration space"), card.space()? == new);
        checks.equal(what("resets"), card.get(register::RESETS)?, resets + 1);
        checks.equal(what("calls"), card.get(register::CALLS)?, calls);
        let found = card.get(register::MAILBOX)?;
        checks.equal(what("what the driver has learned"), found, 0);
        if let Some(file) = file {
            let ended = match state {
                State::Resuming => file.write(&[0]).map(drop),
                _ => file.read(&mut [0]).map(drop),
            };
            checks.refused(what("the data file"), ended, Errno::NODEV);
        }
        // The session is over, and not only its state: another one can begin.
        let another = || {
            card.device.set_state(State::Stop)?;
            card.device.set_state(State::StopCopy)
        };
        let begun = another().map(|file| file.is_some());
        checks.equal(what("another session"), begun, Ok(true));
    }
    card.device.reset()?;
    ways(checks, &card)
}

/// Which writes initiate a reset, and of which devices.
fn ways(checks: &mut Checks, card: &Card) -> Result<()> {
    for (offset, bytes, resets) in [
        (DEVICE_CONTROL, &[0x10, 0x28][..], 0),
        (DEVICE_CONTROL, &[0x10], 0),
        (DEVICE_CONTROL + 1, &[0xa8], 1),
        (DEVICE_CONTROL, &[0, 0x80, 0, 0], 1),
        // In the second of two pieces.
        (DEVICE_CONTROL - 4, &[0, 0, 0, 0, 0, 0x80, 0, 0], 1),
        (DEVICE_CONTROL + 2, &[0, 0x80], 0),
    ] {
        let what = |text: &str| format!("{text} of {bytes:x?} at {offset:#x}");
        let before = card.get(register::RESETS)?;
        let written = card.write(offset, bytes);
        checks.equal(what("bytes"), written, Ok(bytes.len()));
        let found = card.get(register::RESETS)? - before;
        checks.equal(what("resets"), found, resets);
        let bit = card.config(DEVICE_CONTROL)? & 0x8000;
        checks.equal(what("Initiate FLR"), bit, 0);
    }
    // Also of a device that is asleep, which wakes it.
    let before = card.get(register::RESETS)?;
    card.write(POWER_CONTROL, &[3])?;
    card.reset_function()?;
    let found = card.get(register::RESETS)? - before;
    checks.equal("resets of a device in D3hot", found, 1);
    checks.equal("the power state then", card.config(POWER_CONTROL)? & 3, 0);

    let without = Card::new("free")?;
    // Its PCI Express capability is the first, behind MSI.
    without.write(0x58, &[0x10, 0xa8])?;
    let found = without.get(register::RESETS)?;
    checks.equal("resets of a device without FLR", found, 0);
    let calls = without.get(register::CALLS)?;
    checks.equal("calls for the write", calls, 1);
    Ok(())
}
