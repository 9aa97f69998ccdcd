// SPDX-License-Identifier: GPL-2.0

//! The device's DMA log: [`GuestMemory`](crate::GuestMemory) marks pages in it, and user space
//! reads it.
//!
//! A page is marked after the write and never only before it: a report between the two would take
//! the mark and miss the write. Memory that VFIO is writing, or that hardware may write, is *held*:
//! it is dirty in every report, and once more after it was released. So a report after an unmap has
//! everything that was written before.
//!
//! The log is offered only with `CONFIG_IOMMUFD_DRIVER`, without which the kernel cannot pass a log
//! to user space: `iova_bitmap_*()` are stubs then, and a QEMU that sees a log fails its migration.

use crate::base::compat::smp_mb;
use core::ops::RangeInclusive;
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{
        atomic::{Atomic, Relaxed},
        Mutex,
    },
};
use mdev_model::dirty_log::{DirtyLog, Leaf, Leaves, Report};

/// Whether this kernel can report a log to user space.
pub(crate) const OFFERED: bool = cfg!(CONFIG_IOMMUFD_DRIVER);

/// Pages by number: IOVA divided by [`PAGE_SIZE`].
pub(super) type Pages = RangeInclusive<u64>;

struct Tree(RBTree<u64, Leaf>);

impl Leaves for Tree {
    fn get(&mut self, index: u64) -> Option<&mut Leaf> {
        self.0.get_mut(&index)
    }

    fn insert(&mut self, index: u64, leaf: Leaf) -> bool {
        let node = RBTreeNode::new(index, leaf, GFP_KERNEL_ACCOUNT);
        node.map(|node| self.0.insert(node)).is_ok()
    }

    fn first_from(&self, index: u64) -> Option<u64> {
        let cursor = self.0.cursor_lower_bound(&index)?;
        Some(*cursor.current().0)
    }

    fn remove(&mut self, index: u64) {
        self.0.remove(&index);
    }

    fn clear(&mut self) {
        self.0 = RBTree::new();
    }
}

struct Inner {
    log: DirtyLog<Tree>,
    /// What is held, by its first page and its last one, and how often.
    held: RBTree<(u64, u64), usize>,
}

/// The log of an open device.
#[pin_data]
pub(crate) struct Log {
    /// Whether the log is started, for writers to see without the lock.
    started: Atomic<bool>,
    #[pin]
    inner: Mutex<Inner>,
}

impl Log {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            started: Atomic::new(false),
            inner <- new_mutex!(Inner {
                log: DirtyLog::new(Tree(RBTree::new())),
                held: RBTree::new(),
            }, "mdev_log"),
        })
    }

    /// Returns whether writes are logged.
    ///
    /// Must be called after a write. If the log is not started then, the write is older than the
    /// log, and user space reads it from memory after the start.
    #[inline]
    pub(super) fn is_started(&self) -> bool {
        if !OFFERED {
            return false;
        }
        // Orders the write before the load. Pairs with the barrier in `start`, which orders the
        // store before what user space reads of memory later.
        smp_mb();
        self.started.load(Relaxed)
    }

    /// Marks `pages`, which the device has written.
    #[inline]
    pub(crate) fn mark(&self, pages: &Pages) {
        if self.is_started() {
            self.inner.lock().log.mark(pages);
        }
    }

    /// Holds `pages`, which may be written at any moment until [`release`](Self::release).
    pub(super) fn hold(&self, pages: &Pages) -> Result {
        if !OFFERED {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        let key = (*pages.start(), *pages.end());
        if let Some(times) = inner.held.get_mut(&key) {
            *times += 1;
        } else {
            inner
                .held
                .try_create_and_insert(key, 1, GFP_KERNEL_ACCOUNT)?;
        }
        inner.log.mark(pages);
        Ok(())
    }

    /// Ends one [`hold`](Self::hold) of `pages`, after the last write on account of it.
    pub(crate) fn release(&self, pages: &Pages) {
        if !OFFERED {
            return;
        }
        let mut inner = self.inner.lock();
        let key = (*pages.start(), *pages.end());
        match inner.held.get_mut(&key) {
            Some(times) if *times > 1 => *times -= 1,
            _ => {
                inner.held.remove(&key);
            }
        }
        inner.log.mark(pages);
    }

    /// Runs `write`, and accounts for its writes to `pages` even if it fails.
    pub(super) fn writing(&self, pages: &Pages, write: impl FnOnce() -> Result) -> Result {
        // Held even while the log is stopped, since it may be started during the write.
        self.hold(pages)?;
        let result = write();
        self.release(pages);
        result
    }

    /// Starts the log with what is held; EBUSY if it is started already.
    pub(crate) fn start(&self) -> Result {
        let mut inner = self.inner.lock();
        let Inner { log, held } = &mut *inner;
        if !log.start() {
            return Err(EBUSY);
        }
        held.keys()
            .for_each(|&(first, last)| log.mark(&(first..=last)));
        self.started.store(true, Relaxed);
        smp_mb();
        Ok(())
    }

    /// Stops the log and drops its contents.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        self.started.store(false, Relaxed);
        inner.log.stop();
    }

    /// Calls `each` with the dirty pages among `pages` and clears them, one leaf at a time under
    /// the lock; EINVAL if the log is stopped.
    pub(crate) fn report(&self, pages: &Pages, mut each: impl FnMut(&Pages)) -> Result {
        {
            let mut inner = self.inner.lock();
            let Inner { log, held } = &mut *inner;
            log.begin_report(pages, held.keys().map(|&(first, last)| first..=last));
        }
        let mut from = *pages.start();
        loop {
            let report = self.inner.lock().log.take(&(from..=*pages.end()));
            let dirty = match report {
                Report::Stopped => return Err(EINVAL),
                Report::Clean => return Ok(()),
                Report::Everything => {
                    each(pages);
                    return Ok(());
                }
                Report::Dirty(dirty) => dirty,
            };
            dirty.runs().for_each(|run| each(&run));
            if dirty.last() >= *pages.end() {
                return Ok(());
            }
            from = dirty.last() + 1;
        }
    }
}
