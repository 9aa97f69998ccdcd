// SPDX-License-Identifier: GPL-2.0
//! The rate of this machine's time-stamp counter.
#![allow(unsafe_code)]

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// The counter and the clock at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    counter: u64,
    clock: Duration,
}

/// The number of readings of which the best is taken: one that was interrupted is not.
const READINGS: usize = 16;
/// The shortest time over which the rate is measured. A reading is exact to a microsecond or so.
const SPAN: Duration = Duration::from_millis(20);

impl Moment {
    /// Reads both; the counter is read between two readings of the clock.
    fn now() -> Option<Moment> {
        let readings = (0..READINGS).filter_map(|_| {
            let before = clock();
            let counter = counter()?;
            let took = clock().checked_sub(before)?;
            let clock = before + took / 2;
            Some((took, Moment { counter, clock }))
        });
        readings
            .min_by_key(|(took, _)| *took)
            .map(|(_, moment)| moment)
    }
}

/// Measures the rate in kHz. `None` on a machine without such a counter.
pub fn measure() -> Option<u64> {
    let start = Moment::now()?;
    loop {
        let now = Moment::now()?;
        if now.clock >= start.clock + SPAN {
            return rate(start, now);
        }
    }
}

fn rate(from: Moment, to: Moment) -> Option<u64> {
    let counts = u128::from(to.counter.checked_sub(from.counter)?);
    let nanoseconds = to.clock.checked_sub(from.clock)?.as_nanos();
    u64::try_from(counts * 1_000_000 / nanoseconds).ok()
}

fn clock() -> Duration {
    let time = clock_gettime(ClockId::MonotonicRaw);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(target_arch = "x86_64")]
fn counter() -> Option<u64> {
    // SAFETY: Every x86-64 processor has the instruction, which only reads a counter.
    Some(unsafe { std::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_counts_in_a_millisecond() {
        let at = |counter, milliseconds| Moment {
            counter,
            clock: Duration::from_millis(milliseconds),
        };
        assert_eq!(rate(at(1_000, 5), at(52_001_000, 25)), Some(2_600_000));
        assert_eq!(rate(at(2, 5), at(1, 25)), None);
    }

    #[test]
    fn two_measurements_agree() {
        if let (Some(a), Some(b)) = (measure(), measure()) {
            assert!(a.abs_diff(b) < a / 100, "{a} and {b} kHz");
        }
    }
}
