// SPDX-License-Identifier: GPL-2.0

//! Waits that end: for a condition, or because the thread that waits is killed; and a way to end
//! those of kernel threads, which nobody can kill.
//!
//! A kernel thread that reaches guest memory waits for user space to provide it, and a process that
//! is being killed never does. So a thread that allows it is sent SIGKILL, by the SDK alone:
//! whatever it waits for in the memory manager is given up then. `fs/smb/client/connect.c` ends its
//! threads so.
//!
//! C headers: `include/linux/wait.h`, `include/linux/sched/signal.h`

use super::{lock, raw};
use core::ffi::c_void;
use kernel::{current, error::to_result, prelude::*, static_lock_class, types::Opaque};

/// A queue of threads that wait for something.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::Mutex};
/// # use mdev_sdk::WaitQueue;
/// fn finish(busy: &Mutex<bool>, idle: &WaitQueue) {
///     *busy.lock() = false;
///     idle.wake_all();
/// }
///
/// /// Waits for `finish`; EINTR if this thread is killed before.
/// fn stop(busy: &Mutex<bool>, idle: &WaitQueue) -> Result {
///     idle.wait_killable(|| !*busy.lock())
/// }
/// ```
#[pin_data]
pub struct WaitQueue {
    #[pin]
    queue: Opaque<raw::wait_queue_head_t>,
}

// SAFETY: A wait queue locks by itself.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Creates a queue in which nobody waits.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- Opaque::ffi_init(|slot| {
                let key = static_lock_class!();
                // SAFETY: `slot` is pinned memory of a wait queue.
                unsafe { raw::__init_waitqueue_head(slot, lock::WAIT.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Waits until `done` is true, which may sleep, and is asked again after each
    /// [`wake_all`](Self::wake_all).
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before.
    pub fn wait_killable(&self, done: impl FnMut() -> bool) -> Result {
        self.wait_in(raw::TASK_KILLABLE, done)
    }

    /// Waits until `done` is true, whatever happens to this thread.
    pub(crate) fn wait(&self, done: impl FnMut() -> bool) {
        // In this state no signal ends it.
        let _ = self.wait_in(raw::TASK_UNINTERRUPTIBLE, done);
    }

    fn wait_in<F: FnMut() -> bool>(&self, state: u32, mut done: F) -> Result {
        /// # Safety
        ///
        /// `done` must be a `F` that nobody else uses.
        unsafe extern "C" fn call<F: FnMut() -> bool>(done: *mut c_void) -> bool {
            // SAFETY: By the function's contract.
            unsafe { (*done.cast::<F>())() }
        }
        let done = (&raw mut done).cast();
        // SAFETY: The queue was initialised. `done` is a local variable, and used during the call
        // alone.
        to_result(unsafe { raw::mdev_wait(self.queue.get(), state, Some(call::<F>), done) })
    }

    /// Has all who wait look again.
    pub fn wake_all(&self) {
        // SAFETY: The queue was initialised.
        unsafe { raw::mdev_wake_all(self.queue.get()) };
    }
}

/// A kernel thread, for as long as it is in a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelThread(*mut raw::task_struct);

// SAFETY: A task is reference counted and locks by itself; see `interrupt` for its life.
unsafe impl Send for KernelThread {}

impl KernelThread {
    /// Returns this thread, if it is one.
    #[inline]
    pub(crate) fn current() -> Option<Self> {
        let task = current!().as_ptr();
        // SAFETY: The flag is never changed of a thread that runs.
        let flags = unsafe { (*task).flags };
        (flags & raw::PF_KTHREAD != 0).then_some(KernelThread(task))
    }

    /// Ends its wait for user space, this one or the next, if the thread [allows it](Self::allow).
    ///
    /// # Safety
    ///
    /// The thread must be alive.
    pub(crate) unsafe fn interrupt(self) {
        // SAFETY: By the function's contract.
        unsafe { raw::send_sig(raw::SIGKILL as c_int, self.0, 1) };
    }

    /// What has interrupted this thread, if anything has, is over.
    pub(crate) fn end_interrupt(self) {
        // Hardly ever: a worker does not pay for the lock with each of its calls.
        if current!().signal_pending() {
            // SAFETY: This is the thread itself.
            unsafe { raw::flush_signals(self.0) };
        }
    }

    /// Allows this thread to be interrupted.
    pub(crate) fn allow() {
        // SAFETY: It is about the thread that calls it.
        unsafe { raw::mdev_allow_interrupt() };
    }
}
