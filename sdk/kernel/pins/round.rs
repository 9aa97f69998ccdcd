// SPDX-License-Identifier: GPL-2.0

//! Which unmaps are under way, so that nobody pins what one of them has just taken back.
//!
//! type1 calls `dma_unmap` of each device in the container, one after the other and without a lock, and
//! then looks whether something is pinned in the mapping, which is there until then. It begins anew if
//! so, and calls `BUG()` after ten times. So a device that has let go must not pin at once what a
//! command asks for, or one of several busy devices would always be in the way.
//!
//! A *round* is what one thread asks devices for. A device that was asked takes part in it, and pins none
//! of that memory while any other one is being asked, however long that takes its driver. Nothing tells
//! the end of a round, so it lasts for a moment longer; unless its thread asks for something else before.

use core::ops::RangeInclusive;
use kernel::{
    prelude::*,
    sync::global_lock,
    time::{Delta, Instant, Monotonic},
};

/// How long a round lasts after the last device was asked: long between two that are asked one after the
/// other, and short for a guest, which has no use for memory that it takes away.
pub(super) const PAUSE: Delta = Delta::from_millis(10);

/// How many rounds there can be at once: as many as threads that unmap pinned memory on this machine at
/// the same moment. One that finds no place is not waited for.
const PLACES: usize = 32;

struct Round {
    /// Who asks: the address of a task, to be compared only.
    task: usize,
    iovas: RangeInclusive<u64>,
    /// How many devices are being asked now.
    asked: usize,
    /// When the last one was through with it.
    since: Instant<Monotonic>,
    /// Tells the rounds that have had this place one after the other.
    number: u64,
}

impl Round {
    fn is_over(&self) -> bool {
        self.asked == 0 && self.since.elapsed() >= PAUSE
    }
}

global_lock! {
    // SAFETY: `mdev_sdk_init` initialises it, before the module has a user.
    unsafe(uninit) static ROUNDS: Mutex<[Option<Round>; PLACES]> = [const { None }; PLACES];
}

/// Called once, when the module is loaded.
#[no_mangle]
extern "C" fn mdev_sdk_init() {
    // SAFETY: Called once, by `init.c`, and before anything else of the module.
    unsafe { ROUNDS.init() };
}

/// A round that a device takes part in, also after it is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    place: usize,
    number: u64,
}

impl Part {
    /// Whether the round is not over.
    pub(super) fn is_on(self) -> bool {
        let rounds = ROUNDS.lock();
        let round = rounds[self.place].as_ref();
        round.is_some_and(|round| round.number == self.number && !round.is_over())
    }
}

/// A device is being asked for memory, until this is dropped.
pub(super) struct Asked(pub(super) Part);

impl Asked {
    /// This thread asks for `iovas`. None if there is no place for its round.
    pub(super) fn now(iovas: &RangeInclusive<u64>) -> Option<Self> {
        let task = current!().as_ptr() as usize;
        let mut rounds = ROUNDS.lock();
        let on = |round: &Round| !round.is_over();
        // A thread asks for one thing at a time, so it has one round.
        let mine = |round: &Option<Round>| {
            let round = round.as_ref().filter(|round| on(round));
            round.is_some_and(|round| round.task == task)
        };
        let free = |round: &Option<Round>| !round.as_ref().is_some_and(on);
        let place = rounds.iter().position(mine);
        let place = place.or_else(|| rounds.iter().position(free))?;
        let before = rounds[place].take();
        let number = before.as_ref().map_or(0, |round| round.number);
        let round = match before {
            Some(round) if on(&round) && round.iovas == *iovas => Round {
                asked: round.asked + 1,
                ..round
            },
            _ => Round {
                task,
                iovas: iovas.clone(),
                asked: 1,
                since: Instant::now(),
                number: number + 1,
            },
        };
        let number = round.number;
        rounds[place] = Some(round);
        Some(Asked(Part { place, number }))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // As long as anyone is asked the place is this round's.
        if let Some(round) = &mut ROUNDS.lock()[self.0.place] {
            round.asked -= 1;
            round.since = Instant::now();
        }
    }
}
