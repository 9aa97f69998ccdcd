// SPDX-License-Identifier: GPL-2.0

//! Waits for a condition that end when the waiting thread is killed, and a way to end the waits of
//! kernel threads, which user space cannot kill.
//!
//! A kernel thread that accesses guest memory waits for user space to provide it, and a process
//! that is being killed never does. So a thread can allow SIGKILL, which only the SDK sends it: the
//! memory manager then gives up its wait.
//! [`fs/smb/client/connect.c`](srctree/fs/smb/client/connect.c) ends its threads in the same way.
//!
//! C headers: [`include/linux/wait.h`](srctree/include/linux/wait.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use super::{lock, raw};
use core::ffi::c_void;
use kernel::{current, error::to_result, prelude::*, static_lock_class, types::Opaque};

/// A queue of threads that wait for a condition.
///
/// # Invariants
///
/// `queue` is an initialized wait queue.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    queue: Opaque<raw::wait_queue_head_t>,
}

// SAFETY: A wait queue does its own locking.
unsafe impl Send for WaitQueue {}
// SAFETY: A wait queue does its own locking.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Creates an empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: `__init_waitqueue_head()` initializes `queue`.
        pin_init!(Self {
            queue <- Opaque::ffi_init(|slot| {
                let key = static_lock_class!();
                // SAFETY: `slot` is valid for writes and pinned; the name and the key are static.
                unsafe { raw::__init_waitqueue_head(slot, lock::WAIT.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Waits until `done` returns true.
    ///
    /// `done` is called first, and again after each [`wake_all`](Self::wake_all). It may sleep.
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed first.
    pub(crate) fn wait_killable(&self, done: impl FnMut() -> bool) -> Result {
        self.wait_in(raw::TASK_KILLABLE, done)
    }

    /// Waits until `done` returns true, even if this thread is killed.
    pub(crate) fn wait(&self, done: impl FnMut() -> bool) {
        // No signal ends a wait in this state.
        let _ = self.wait_in(raw::TASK_UNINTERRUPTIBLE, done);
    }

    fn wait_in<F: FnMut() -> bool>(&self, state: u32, mut done: F) -> Result {
        /// Calls the closure that `done` points at.
        ///
        /// # Safety
        ///
        /// `done` must point to a valid `F`, to which the caller has exclusive access.
        unsafe extern "C" fn call<F: FnMut() -> bool>(done: *mut c_void) -> bool {
            // SAFETY: The caller guarantees that `done` points to an `F` and that access is
            // exclusive.
            unsafe { (*done.cast::<F>())() }
        }
        let done = (&raw mut done).cast();
        // SAFETY: By the type invariant `queue` is initialized. `done` is a local variable, and C
        // uses it only during the call.
        to_result(unsafe { raw::mdev_wait(self.queue.get(), state, Some(call::<F>), done) })
    }

    /// Wakes all waiting threads, which then check their condition again.
    pub(crate) fn wake_all(&self) {
        // SAFETY: By the type invariant `queue` is initialized.
        unsafe { raw::mdev_wake_all(self.queue.get()) };
    }
}

/// A kernel thread during a call that it makes into the SDK.
///
/// # Invariants
///
/// The pointer is the `task_struct` of the kernel thread that called [`current`](Self::current).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelThread(*mut raw::task_struct);

// SAFETY: `send_sig()` may be called from any thread; `interrupt` requires that the task is alive.
unsafe impl Send for KernelThread {}

impl KernelThread {
    /// Returns the current thread if it is a kernel thread.
    #[inline]
    pub(crate) fn current() -> Option<Self> {
        let task = current!().as_ptr();
        // SAFETY: The current task is alive, and its `PF_KTHREAD` flag never changes.
        let flags = unsafe { (*task).flags };
        // INVARIANT: `task` is the current one, and a kernel thread.
        (flags & raw::PF_KTHREAD != 0).then_some(KernelThread(task))
    }

    /// Ends the thread's current or next wait for user space, if the thread
    /// [allows it](Self::allow).
    ///
    /// # Safety
    ///
    /// The thread must be alive.
    pub(crate) unsafe fn interrupt(self) {
        // SAFETY: By the type invariant the pointer is a task, and the caller guarantees that it is
        // alive.
        unsafe { raw::send_sig(raw::SIGKILL as c_int, self.0, 1) };
    }

    /// Clears an interrupt of the current thread, which must be `self`.
    pub(crate) fn end_interrupt(self) {
        // An interrupt is rare, and without one a worker must not pay for the lock on each call.
        if current!().signal_pending() {
            // SAFETY: The thread is the current one, so it is alive, and a kernel thread by the
            // type invariant.
            unsafe { raw::flush_signals(self.0) };
        }
    }

    /// Lets other threads run, between two steps of work that may have many.
    pub(crate) fn relax() {
        // SAFETY: The function may sleep, and so may a thread that runs a step.
        unsafe { raw::mdev_cond_resched() };
    }

    /// Allows [`interrupt`](Self::interrupt) for the current thread.
    pub(crate) fn allow() {
        // SAFETY: The function concerns only the current thread.
        unsafe { raw::mdev_allow_interrupt() };
    }
}
