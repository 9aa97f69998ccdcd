// SPDX-License-Identifier: GPL-2.0
//! Timeouts that are longer on slower machines, and that do not count the time in which the VM was
//! not allowed to run.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How many times slower this machine is than the one that timeouts were chosen for.
static FACTOR: AtomicU32 = AtomicU32::new(1);
/// The time in milliseconds in which this machine waited for a processor.
static KEPT_WAITING: AtomicU64 = AtomicU64::new(0);
/// The origin of the clock.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Multiplies every later timeout of this process.
pub fn stretch(factor: u32) {
    FACTOR.store(factor.max(1), Ordering::Relaxed);
}

/// Sets the total time in which this machine waited for a processor.
pub fn was_kept_waiting(milliseconds: u64) {
    KEPT_WAITING.fetch_max(milliseconds, Ordering::Relaxed);
}

/// Returns the timeout here for what takes less than `usual` elsewhere.
pub fn of(usual: Duration) -> Duration {
    usual * FACTOR.load(Ordering::Relaxed)
}

/// Returns the deadline of such a wait that begins now.
pub fn until(usual: Duration) -> Deadline {
    Deadline(now() + of(usual))
}

/// Returns the time in which this machine could run.
fn now() -> Duration {
    let kept_waiting = Duration::from_millis(KEPT_WAITING.load(Ordering::Relaxed));
    BEGIN.elapsed().saturating_sub(kept_waiting)
}

/// Returns the time from `now` to `end`, if `end` is later.
pub fn between(now: Duration, end: Duration) -> Option<Duration> {
    end.checked_sub(now).filter(|left| !left.is_zero())
}

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    /// Returns the remaining time, or `None` if there is none. Call it again after that time,
    /// because the deadline may have moved.
    pub fn remaining(self) -> Option<Duration> {
        between(now(), self.0)
    }

    /// Returns whether it has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_its_time_has_passed_and_not_before() {
        let seconds = Duration::from_secs;
        assert_eq!(between(seconds(10), seconds(70)), Some(seconds(60)));
        assert_eq!(between(seconds(70), seconds(70)), None);
        assert_eq!(between(seconds(71), seconds(70)), None);
        assert!(until(Duration::ZERO).is_over());
        assert!(!until(seconds(3600)).is_over());
    }
}
