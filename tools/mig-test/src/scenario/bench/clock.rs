// SPDX-License-Identifier: GPL-2.0
//! Measures the cost of calls without interruptions.

use rustix::time::{clock_gettime, ClockId};

use crate::event::Outcome;

/// Returns the minimum time of a number of calls: that of a call without interrupts. The first call
/// does not count, because it fills caches and takes first-time paths.
pub fn least<E>(times: u64, mut call: impl FnMut() -> Result<(), E>) -> Result<u64, E> {
    call()?;
    let mut least = u64::MAX;
    for _ in 0..times {
        let start = now();
        call()?;
        least = least.min(now() - start);
    }
    Ok(least)
}

/// Fails if a ratio, named by the figure that it is of, is above `bound`; `peer` names the peer.
pub fn within(bound: f64, peer: &str, ratios: impl Iterator<Item = (String, f64)>) -> Outcome {
    let above: Vec<String> = ratios
        .filter(|(_, ratio)| *ratio > bound)
        .map(|(what, ratio)| format!("{what} ({ratio})"))
        .collect();
    match above.is_empty() {
        true => Outcome::Passed,
        false => Outcome::Failed {
            reason: format!("above {bound} of {peer}: {}", above.join(", ")),
        },
    }
}

/// Returns the ratio of `a` to `b`, with three decimals.
pub fn ratio(a: u64, b: u64) -> f64 {
    (a as f64 / b as f64 * 1000.0).round() / 1000.0
}

/// Returns nanoseconds; instructions if the VM's clock counts those.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
