// SPDX-License-Identifier: GPL-2.0
//! Rounds of the programs that drive a card of the examples: numbers for the words of a round's
//! page, and the wait for the card.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::patience;

/// The interval at which the card is asked whether it has finished. Its interrupt would need a
/// driver in the guest's kernel.
const LOOK: Duration = Duration::from_millis(1);
/// The time for what a card does in a round: some hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a number for a word of the page of a round, different for all of them.
pub fn number(round: u64, word: usize) -> u64 {
    round << 16 | word as u64
}

/// Waits until the card `is_done` with what round `round` has asked for. If that takes too long,
/// the error has its `state`.
pub fn wait(round: u64, is_done: impl Fn() -> bool, state: impl Fn() -> String) -> io::Result<()> {
    let deadline = Instant::now() + patience::of(PATIENCE);
    while !is_done() {
        if Instant::now() > deadline {
            let state = state();
            return Err(io::Error::other(format!(
                "round {round} does not end: {state}"
            )));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
