// SPDX-License-Identifier: GPL-2.0

//! Work that a device does apart from the callback that asked for it.
//!
//! The kernel crate's work items keep themselves alive and cannot be waited for; a device has to
//! know that its work is over before it is gone, and its module with it. A [`Worker`] waits when it
//! is dropped.
//!
//! C header: `include/linux/workqueue.h`

use crate::base::{lock, raw};
use core::{marker::PhantomPinned, ops::Deref};
use kernel::{container_of, prelude::*, static_lock_class, types::Opaque};

/// What a [`Worker`] does.
pub trait Task: Send + Sync + 'static {
    /// Does what there is to do, then returns. May sleep; never runs twice at the same time.
    fn run(&self);
}

/// A task, and the means to have it run by a kernel thread.
///
/// # Invariants
///
/// `work` was initialised to call [`work_fn`](Self::work_fn). It is cancelled on drop, so it runs
/// only while the value lives. What Rust cannot see to is that a driver neither forgets it nor has
/// it in a cycle of `Arc`s, in which its work could outlast the module.
#[pin_data(PinnedDrop)]
struct Inner<T: Task> {
    #[pin]
    work: Opaque<raw::work_struct>,
    task: T,
    #[pin]
    _pin: PhantomPinned,
}

/// A task that runs in a kernel thread when it is [kicked](Self::kick).
pub struct Worker<T: Task>(Pin<KBox<Inner<T>>>);

// SAFETY: A work item is locked by the workqueue; `T` is Send and Sync.
unsafe impl<T: Task> Send for Worker<T> {}
// SAFETY: As above.
unsafe impl<T: Task> Sync for Worker<T> {}

impl<T: Task> Worker<T> {
    /// A worker that is idle.
    pub fn new(task: T) -> Result<Self> {
        let inner = KBox::pin_init(
            pin_init!(Inner {
                work <- Opaque::ffi_init(|slot| {
                    let key = static_lock_class!();
                    // SAFETY: `slot` is pinned memory of a `work_struct`, cancelled before it goes.
                    unsafe {
                        raw::init_work_with_key(
                            slot,
                            Some(Inner::<T>::work_fn),
                            false,
                            lock::WORKER.as_char_ptr(),
                            key.as_ptr(),
                        )
                    }
                }),
                task,
                _pin: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        Ok(Worker(inner))
    }

    /// Has the task run once more, from its beginning, after this call.
    pub fn kick(&self) {
        // SAFETY: By the type invariant of `Inner`; the queue is the kernel's and lives for ever.
        unsafe {
            raw::queue_work_on(
                raw::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                raw::system_dfl_long_wq,
                self.0.work.get(),
            )
        };
    }
}

impl<T: Task> Deref for Worker<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.task
    }
}

impl<T: Task> Inner<T> {
    /// # Safety
    ///
    /// Called by the workqueue: `work` is that of a live `Self`.
    unsafe extern "C" fn work_fn(work: *mut raw::work_struct) {
        // SAFETY: By the function's contract.
        let inner: &Self = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        inner.task.run();
    }
}

#[pinned_drop]
impl<T: Task> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. Nobody can kick any more: `self` is borrowed mutably.
        unsafe { raw::cancel_work_sync(self.work.get()) };
    }
}
