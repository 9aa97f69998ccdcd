// SPDX-License-Identifier: GPL-2.0
//! Threads that race on a device while it is reset repeatedly, and their results. That only
//! expected errors occur proves nothing, because a device that refuses every call has no others
//! either.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;

use mig_common::random::Random;

use super::checks::Checks;
use super::target::Target;
use crate::vfio::device::Device;

/// The number of resets of a race.
const RESETS: usize = 60;
/// The maximum number of runs of a race, because rare successes may not occur in the first.
const RACES: usize = 20;
/// Operations between two of them, of all other threads together. A device that waits for a state
/// to load refuses much until it is reset.
const BETWEEN: usize = 40;

/// What a device is marked with before a race: no reset leaves it, and every load of the whole
/// stream brings it again.
pub const MARK: u8 = 0xa5;

/// The successes, and the forbidden results.
#[derive(Default)]
pub struct Seen {
    done: BTreeMap<String, usize>,
    strange: Vec<String>,
}

impl Seen {
    /// Records a success.
    pub fn done(&mut self, what: impl Into<String>) {
        *self.done.entry(what.into()).or_default() += 1;
    }

    /// Records a forbidden result.
    pub fn strange(&mut self, what: impl Into<String>) {
        self.strange.push(what.into());
    }

    /// Adds the results of another thread.
    fn add(&mut self, other: Seen) {
        for (what, count) in other.done {
            *self.done.entry(what).or_default() += count;
        }
        self.strange.extend(other.strange);
    }

    /// Formats the number of successes of each kind.
    pub fn counts(&self) -> String {
        let counts = self
            .done
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Requires that each of `wanted` has succeeded at least once, without forbidden results.
    pub fn judge(self, checks: &mut Checks, wanted: &[String]) {
        for what in wanted {
            let is_done = self.done.contains_key(what);
            checks.that(format!("{what} has never succeeded"), is_done);
        }
        for text in self.strange {
            checks.that(text, false);
        }
    }
}

/// One operation of a thread.
pub type Act<'a> = &'a (dyn Fn(&mut Random, &mut Seen) + Sync);

/// Runs each of `acts` in a thread repeatedly and resets the device meanwhile, until each of
/// `wanted` has succeeded or there is a forbidden result.
pub fn race(device: &Device, random: &mut Random, acts: &[Act], wanted: &[String]) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..RACES {
        seen.add(run(device, random, acts));
        let is_done = |what| seen.done.contains_key(what);
        if wanted.iter().all(is_done) || !seen.strange.is_empty() {
            break;
        }
    }
    seen
}

fn run(device: &Device, random: &mut Random, acts: &[Act]) -> Seen {
    let (operations, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Barrier::new(acts.len() + 1);
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for act in acts {
            let mut random = Random::new(random.next_u64());
            let (operations, over, start) = (&operations, &over, &start);
            threads.push(scope.spawn(move || {
                let mut seen = Seen::default();
                start.wait();
                while !over.load(Ordering::Acquire) {
                    act(&mut random, &mut seen);
                    operations.fetch_add(1, Ordering::Release);
                }
                seen
            }));
        }
        start.wait();
        for _ in 0..RESETS {
            let before = operations.load(Ordering::Acquire);
            while operations.load(Ordering::Acquire) < before + BETWEEN
                && !threads.iter().all(|thread| thread.is_finished())
            {
                thread::yield_now();
            }
            match device.reset() {
                Ok(()) => seen.done("reset"),
                Err(error) => seen.strange(format!("reset: {error:?}")),
            }
        }
        over.store(true, Ordering::Release);
        for thread in threads {
            match thread.join() {
                Ok(other) => seen.add(other),
                Err(_) => seen.strange("a thread panicked"),
            }
        }
    });
    seen
}

/// Returns `len` or less, with equal probability.
pub fn some(len: usize, random: &mut Random) -> usize {
    match random.coin() {
        true => len,
        false => random.below(len + 1),
    }
}

/// After a reset, a device saves what it has saved when it was new. Of a device without the SDK's
/// stream, which may hold what changes by itself, the length has to do.
pub fn whole(checks: &mut Checks, target: &Target, after: &[u8], new: &[u8]) {
    checks.equal("bytes saved after it all", after.len(), new.len());
    if target.has_records(new) {
        checks.that("after it all, another state is saved", after == new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Outcome;

    fn judged(seen: Seen) -> Outcome {
        let mut checks = Checks::default();
        seen.judge(&mut checks, &["a".to_string(), "b".to_string()]);
        checks.outcome()
    }

    #[test]
    fn what_has_never_succeeded_is_named() {
        let mut seen = Seen::default();
        seen.done("a");
        let reason = "1 of 2 checks fail: b has never succeeded".into();
        assert_eq!(judged(seen), Outcome::Failed { reason });
    }

    #[test]
    fn what_one_of_the_threads_has_done_counts() {
        let (mut seen, mut other) = (Seen::default(), Seen::default());
        seen.done("a");
        other.done("b");
        seen.add(other);
        assert_eq!(judged(seen), Outcome::Passed);
    }

    #[test]
    fn what_is_strange_fails_whatever_has_succeeded() {
        let (mut seen, mut other) = (Seen::default(), Seen::default());
        seen.done("a");
        seen.done("b");
        other.strange("c");
        seen.add(other);
        let reason = "1 of 3 checks fail: c".into();
        assert_eq!(judged(seen), Outcome::Failed { reason });
    }
}
