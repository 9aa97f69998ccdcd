// SPDX-License-Identifier: GPL-2.0

//! A limit to messages in the kernel log that user space can cause at will.

use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// How many messages an mdev has.
const MESSAGES: u32 = 16;

/// What an mdev may still say because of its user, from `create` to `remove`: opening it again
/// makes it no more.
pub(crate) struct Limit(Atomic<u32>);

impl Limit {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Limit(Atomic::new(0)), GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns how many messages are left behind this one; `None` if it must not be said.
    pub(crate) fn spend(&self) -> Option<u32> {
        // It stays at the limit, so that it cannot wrap.
        if self.0.load(Relaxed) >= MESSAGES {
            return None;
        }
        MESSAGES.checked_sub(self.0.fetch_add(1, Relaxed) + 1)
    }
}
