// SPDX-License-Identifier: GPL-2.0
//! How long to wait for what may never happen: longer where everything takes longer, and not
//! counting the time in which nothing could.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// By how much this machine is slower than the one that waits were chosen for.
static FACTOR: AtomicU32 = AtomicU32::new(1);
/// For how many milliseconds it was kept waiting for a processor.
static KEPT_WAITING: AtomicU64 = AtomicU64::new(0);
/// When time began.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Stretches every wait of this process from now on.
pub fn stretch(factor: u32) {
    FACTOR.store(factor.max(1), Ordering::Relaxed);
}

/// This machine was kept waiting for a processor for so long, all in all.
pub fn was_kept_waiting(milliseconds: u64) {
    KEPT_WAITING.fetch_max(milliseconds, Ordering::Relaxed);
}

/// How long to wait here for what takes less than `usual` elsewhere.
pub fn of(usual: Duration) -> Duration {
    usual * FACTOR.load(Ordering::Relaxed)
}

/// The end of such a wait that begins now.
pub fn until(usual: Duration) -> Deadline {
    Deadline(now() + of(usual))
}

/// The time in which this machine could have done something.
fn now() -> Duration {
    let kept_waiting = Duration::from_millis(KEPT_WAITING.load(Ordering::Relaxed));
    BEGIN.elapsed().saturating_sub(kept_waiting)
}

/// How long it is from `now` to `end`, if it is.
pub fn between(now: Duration, end: Duration) -> Option<Duration> {
    end.checked_sub(now).filter(|left| !left.is_zero())
}

/// When to wait no longer.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    /// How long to wait still; ask again then, because it may have become later. None if it is
    /// over.
    pub fn remaining(self) -> Option<Duration> {
        between(now(), self.0)
    }

    /// Whether it has passed.
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
