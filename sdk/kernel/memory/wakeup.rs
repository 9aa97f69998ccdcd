// SPDX-License-Identifier: GPL-2.0

//! Who polls for a data file to become readable, and is woken by what the device writes.

use kernel::{
    new_poll_condvar,
    prelude::*,
    sync::{poll::PollCondVar, Arc},
};

/// Wakes the pollers of a migration session.
#[pin_data]
pub(crate) struct Wakeup {
    #[pin]
    changed: PollCondVar,
}

impl Wakeup {
    /// Creates one that nobody waits for.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                changed <- new_poll_condvar!("mdev_readable"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Wakes everybody who polls.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }

    /// What a `poll()` registers with.
    pub(crate) fn condvar(&self) -> &PollCondVar {
        &self.changed
    }
}
