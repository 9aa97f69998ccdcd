// SPDX-License-Identifier: GPL-2.0

//! Who polls for a data file to become readable, and is woken by what the device has to save.

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
    /// Whether somebody polls who has not been woken since.
    armed: Atomic<bool>,
}

impl Wakeup {
    /// Creates one that nobody waits for.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                changed <- new_poll_condvar!("mdev_readable"),
                armed: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Wakes everybody who polls.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }

    /// The next [`wake_if_armed`](Self::wake_if_armed) wakes everybody, once. Look for what there
    /// is to save after the call.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Relaxed);
        smp_mb();
    }

    /// There is more to save than before. Costs next to nothing while nobody polls.
    #[inline]
    pub(crate) fn wake_if_armed(&self) {
        // Orders what there is before the look; pairs with the one in `arm`.
        smp_mb();
        if self.armed.load(Relaxed) && self.armed.xchg(false, Relaxed) {
            self.wake();
        }
    }

    /// What a `poll()` registers with.
    pub(crate) fn condvar(&self) -> &PollCondVar {
        &self.changed
    }
}
