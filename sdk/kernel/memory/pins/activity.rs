// SPDX-License-Identifier: GPL-2.0

//! What is under way through a device: how many pins and copies, and who waits for their end.
//!
//! A thread that changes something looks afterwards whether somebody waits, with a full barrier
//! between the two; a thread that waits counts itself, with a full barrier before its first look.
//! So one of them sees the other.

use crate::base::{compat::smp_mb, wait::WaitQueue};
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Atomic, Full, Relaxed},
};

#[pin_data]
pub(super) struct Activity {
    /// How many pins and copies are under way.
    under_way: Atomic<usize>,
    /// How many threads wait in `queue`.
    waiting: Atomic<usize>,
    #[pin]
    queue: WaitQueue,
}

impl Activity {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            under_way: Atomic::new(0),
            waiting: Atomic::new(0),
            queue <- WaitQueue::new(),
        })
    }

    /// Begins a pin or a copy, which must [`end`](Self::end). The table must be locked, and allow
    /// it.
    #[inline]
    pub(super) fn begin(&self) {
        self.under_way.add(1, Relaxed);
    }

    /// Ends a pin or a copy, which the caller has entered in the table or undone.
    #[inline]
    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Full);
        self.wake_waiting();
    }

    /// Wakes those who wait for what the caller has changed.
    #[inline]
    pub(super) fn changed(&self) {
        smp_mb();
        self.wake_waiting();
    }

    #[inline]
    fn wake_waiting(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.queue.wake_all();
        }
    }

    /// Returns whether no pin and no copy is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Acquire) == 0
    }

    /// Waits until `done`.
    pub(super) fn wait(&self, done: impl FnMut() -> bool) {
        self.waiting.fetch_add(1, Full);
        self.queue.wait(done);
        self.waiting.fetch_sub(1, Full);
    }

    /// Waits until `done`.
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before.
    pub(super) fn wait_killable(&self, done: impl FnMut() -> bool) -> Result {
        self.waiting.fetch_add(1, Full);
        let result = self.queue.wait_killable(done);
        self.waiting.fetch_sub(1, Full);
        result
    }
}
