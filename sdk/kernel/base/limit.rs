// SPDX-License-Identifier: GPL-2.0

//! A limit on the kernel log messages that user space can cause.

use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// Number of messages that user space can cause at one mdev.
const MESSAGES: u32 = 16;

/// The messages that user space can still cause at an mdev, from `create` to `remove`.
///
/// Closing and opening the device does not refill it.
pub(crate) struct Limit(Atomic<u32>);

impl Limit {
    /// Creates a limit of which nothing is spent.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Limit(Atomic::new(0)), GFP_KERNEL_ACCOUNT)?)
    }

    /// Spends one message, and returns how many remain; `None` if none was left.
    pub(crate) fn spend(&self) -> Option<u32> {
        // The counter stays at the limit, so it cannot wrap.
        if self.0.load(Relaxed) >= MESSAGES {
            return None;
        }
        MESSAGES.checked_sub(self.0.fetch_add(1, Relaxed) + 1)
    }
}
