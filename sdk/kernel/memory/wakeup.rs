// SPDX-License-Identifier: GPL-2.0

//! Pollers that wait for a data file to become readable, and are woken when the device has more to
//! save.

use crate::base::compat::smp_mb;
use kernel::{
    new_poll_condvar,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        poll::PollCondVar,
        Arc,
    },
};

/// Wakes the pollers of a migration session.
#[pin_data]
pub(crate) struct Wakeup {
    #[pin]
    changed: PollCondVar,
    /// Whether a poller has armed the wakeup since the last one.
    armed: Atomic<bool>,
}

impl Wakeup {
    /// Creates a wakeup without pollers.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                changed <- new_poll_condvar!("mdev_readable"),
                armed: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Wakes all pollers.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Arms a one-shot wakeup: the next [`wake_if_armed`](Self::wake_if_armed) wakes all pollers.
    ///
    /// The caller must check what there is to save after the call, not before.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Relaxed);
        // Orders the store before the caller's check. Pairs with the barrier in `wake_if_armed`.
        smp_mb();
    }

    /// Wakes all pollers if the wakeup is armed; cheap if not. Must be called after there is more
    /// to save.
    #[inline]
    pub(crate) fn wake_if_armed(&self) {
        // Orders what there is to save before the load. Pairs with the barrier in `arm`.
        smp_mb();
        if self.armed.load(Relaxed) && self.armed.xchg(false, Relaxed) {
            self.wake();
        }
    }

    /// Returns the condition variable for `poll()` to register with.
    pub(crate) fn condvar(&self) -> &PollCondVar {
        &self.changed
    }
}
