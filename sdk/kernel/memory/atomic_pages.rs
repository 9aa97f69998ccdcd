// SPDX-License-Identifier: GPL-2.0

//! Sets of pages that several threads change at the same time.

use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Atomic, Full, Relaxed},
};
use mdev_model::page_set::{self, PageSet, Words};

/// The words of a [`PageSet`], as atomics of the kernel's memory model.
pub(super) struct Atomics(KVVec<Atomic<u64>>);

impl Words for Atomics {
    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn load(&self, index: usize) -> u64 {
        self.0[index].load(Acquire)
    }

    #[inline]
    fn update(&self, index: usize, change: impl Fn(u64) -> u64) -> u64 {
        let word = &self.0[index];
        let mut old = word.load(Relaxed);
        loop {
            match word.cmpxchg(old, change(old), Full) {
                Ok(old) => return old,
                Err(now) => old = now,
            }
        }
    }
}

/// Creates an empty set of the pages below `pages`.
pub(super) fn page_set(pages: usize) -> Result<PageSet<Atomics>> {
    let mut words = KVVec::new();
    for _ in 0..page_set::words(pages) {
        words.push(Atomic::new(0), GFP_KERNEL_ACCOUNT)?;
    }
    Ok(PageSet::new(Atomics(words)))
}
