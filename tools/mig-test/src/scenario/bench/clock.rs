// SPDX-License-Identifier: GPL-2.0
//! What calls cost, without what comes between.

use rustix::time::{clock_gettime, ClockId};

/// The least that `call` took, of so many times: the one that no interrupt has lengthened. The
/// first call does not count; it fills caches and takes first-time paths.
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

/// `a` to `b`, with three decimals.
pub fn ratio(a: u64, b: u64) -> f64 {
    (a as f64 / b as f64 * 1000.0).round() / 1000.0
}

/// Nanoseconds; instructions where the VM counts those.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
