// SPDX-License-Identifier: GPL-2.0
//! How long to wait for what may never happen: longer where everything takes longer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// By how much this machine is slower than the one that waits were chosen for.
static FACTOR: AtomicU32 = AtomicU32::new(1);

/// Stretches every wait of this process from now on.
pub fn stretch(factor: u32) {
    FACTOR.store(factor.max(1), Ordering::Relaxed);
}

/// How long to wait here for what takes less than `usual` elsewhere.
pub fn of(usual: Duration) -> Duration {
    usual * FACTOR.load(Ordering::Relaxed)
}

/// The end of such a wait that begins now.
pub fn until(usual: Duration) -> Instant {
    Instant::now() + of(usual)
}
