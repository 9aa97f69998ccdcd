// SPDX-License-Identifier: GPL-2.0

//! Work that a device does apart from the callback that asked for it.
//!
//! The kernel crate's work items keep themselves alive and cannot be waited for; a device has to
//! know that its work is over before it is gone, and its module with it. A [`Worker`] waits when it
//! is dropped. It has a kernel thread of its own, whose waits for guest memory can be ended: when
//! the device is closed, and when whoever waits for the worker is killed.
//!
//! C header: `include/linux/kthread.h`

use super::Context;
use crate::base::{raw, wait::KernelThread};
use core::{marker::PhantomPinned, ops::Deref, ptr::NonNull};
use kernel::{container_of, error::from_err_ptr, prelude::*, types::Opaque};

/// What a [`Worker`] does.
///
/// # Examples
///
/// [`Worker`] has one.
pub trait Task: Send + Sync + 'static {
    /// Does what there is to do, then returns. May sleep; never runs twice at the same time.
    fn run(&self);
}

/// A task, and the thread that runs it.
///
/// # Invariants
///
/// - `work` was initialised to call [`work_fn`](Self::work_fn), and is queued at `thread` alone.
/// - `thread` is a kthread worker, destroyed on drop, so `work` runs only while the value lives.
/// - The value owns a reference to `owner`, so that its thread cannot outlast the code that it
///   runs, even if the value is forgotten.
#[pin_data(PinnedDrop)]
struct Inner<T: Task> {
    thread: NonNull<raw::kthread_worker>,
    #[pin]
    work: Opaque<raw::kthread_work>,
    owner: &'static ThisModule,
    task: T,
    #[pin]
    _pin: PhantomPinned,
}

/// A task that runs in a kernel thread when it is [kicked](Self::kick).
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::{Arc, Mutex}};
/// # use mdev_sdk::{Context, Task, Worker};
/// struct Copier {
///     cx: Arc<Context>,
///     /// Where to copy from, if there is something to copy.
///     job: Arc<Mutex<Option<u64>>>,
/// }
///
/// impl Task for Copier {
///     fn run(&self) {
///         let Some(from) = self.job.lock().take() else { return };
///         let mut data = [0; 64];
///         // Without the lock: this may wait for user space.
///         if self.cx.memory().read(from, &mut data).is_ok() {
///             self.cx.set_interrupt(true);
///         }
///     }
/// }
///
/// fn open(cx: Arc<Context>, job: Arc<Mutex<Option<u64>>>) -> Result<Worker<Copier>> {
///     Worker::new(&cx.clone(), Copier { cx, job })
/// }
///
/// fn doorbell(worker: &Worker<Copier>, from: u64) {
///     *worker.job.lock() = Some(from);
///     worker.kick();
/// }
/// ```
pub struct Worker<T: Task>(Pin<KBox<Inner<T>>>);

// SAFETY: A kthread worker locks its work by itself; `T` is Send and Sync.
unsafe impl<T: Task> Send for Worker<T> {}
// SAFETY: As above.
unsafe impl<T: Task> Sync for Worker<T> {}

impl<T: Task> Worker<T> {
    /// Creates a worker of the device of `cx`, which is idle.
    ///
    /// # Errors
    ///
    /// ENOMEM if there is no memory for it or its thread; EINTR if this process is being killed.
    pub fn new(cx: &Context, task: T) -> Result<Self> {
        let owner = cx.owner();
        let inner = KBox::try_pin_init(
            try_pin_init!(Inner {
                thread: {
                    // SAFETY: The function has no preconditions.
                    let thread = from_err_ptr(unsafe { raw::mdev_run_worker() })?;
                    NonNull::new(thread).ok_or(ENOMEM)?
                },
                work <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is pinned memory of a `kthread_work`.
                    unsafe { raw::kthread_init_work(slot, Some(Inner::<T>::work_fn)) }
                }),
                owner: {
                    // SAFETY: The module is in use: the device of `cx` is being opened, or is open.
                    unsafe { raw::__module_get(owner.as_ptr()) };
                    owner
                },
                task,
                _pin: PhantomPinned,
            } ? Error),
            GFP_KERNEL,
        )?;
        Ok(Worker(inner))
    }

    /// Has the task run once more, from its beginning, after this call.
    pub fn kick(&self) {
        // SAFETY: By the type invariant of `Inner`.
        unsafe { raw::kthread_queue_work(self.0.thread.as_ptr(), self.0.work.get()) };
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
    /// A kthread worker must call it, with the `work` of a live `Self`.
    unsafe extern "C" fn work_fn(work: *mut raw::kthread_work) {
        KernelThread::allow();
        // SAFETY: By the function's contract.
        let inner: &Self = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        inner.task.run();
    }
}

#[pinned_drop]
impl<T: Task> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. Nobody can kick any more, for `self` is borrowed mutably,
        // and the thread has ended when the second call returns. This code is the module's, which
        // therefore has another user.
        unsafe {
            raw::kthread_cancel_work_sync(self.work.get());
            raw::kthread_destroy_worker(self.thread.as_ptr());
            raw::module_put(self.owner.as_ptr());
        }
    }
}
