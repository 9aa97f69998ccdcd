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

/// Whether to say something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    Nothing,
    It,
    /// And that it was the last time.
    ItAndThatItWasTheLast,
}

impl Limit {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Limit(Atomic::new(0)), GFP_KERNEL_ACCOUNT)?)
    }

    /// There is something to say.
    pub(crate) fn say(&self) -> Say {
        // It stays at the limit, so that it cannot wrap.
        if self.0.load(Relaxed) >= MESSAGES {
            return Say::Nothing;
        }
        match self.0.fetch_add(1, Relaxed) + 1 {
            ..MESSAGES => Say::It,
            MESSAGES => Say::ItAndThatItWasTheLast,
            _ => Say::Nothing,
        }
    }
}
