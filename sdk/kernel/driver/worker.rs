// SPDX-License-Identifier: GPL-2.0

//! Work that a device does outside of the callback that requested it.
//!
//! The kernel crate's work items keep themselves alive, and cannot be waited for. A device must
//! know that its work has ended before it is dropped, and its module with it, so a [`Worker`] waits
//! when it is dropped. Each has a kernel thread of its own. The SDK ends the thread's waits for
//! guest memory when the device is closed, or when a thread that waits for the worker is killed.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::{Context, Progress};
use crate::base::{raw, wait::KernelThread};
use core::{marker::PhantomPinned, ops::Deref, ptr::NonNull};
use kernel::{container_of, error::from_err_ptr, prelude::*, types::Opaque};

/// The work of a [`Worker`].
///
/// # Examples
///
/// [`Worker`] has one.
pub trait Task: Send + Sync + 'static {
    /// Does a step of the work, and returns whether there is more.
    ///
    /// It may sleep, and never runs twice at the same time. Between two steps the SDK lets other
    /// threads run, so work that a guest can make long must be cut into steps.
    fn step(&self) -> Progress;
}

/// A task and the thread that runs it.
///
/// # Invariants
///
/// - `work` is initialized to call [`work_fn`](Self::work_fn), and is queued only on `thread`.
/// - `thread` is a valid kthread worker. It is destroyed on drop, so `work` runs only while this
///   value lives.
/// - This value owns a reference to `owner`, so the code that the thread runs stays loaded even if
///   the value is leaked.
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

/// A task that a kernel thread runs whenever it is [kicked](Self::kick).
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::{Arc, Mutex}};
/// # use mdev_sdk::{Context, Progress, Task, Worker};
/// struct Copier {
///     cx: Arc<Context>,
///     /// Where to copy from, if there is something to copy.
///     job: Arc<Mutex<Option<u64>>>,
/// }
///
/// impl Task for Copier {
///     fn step(&self) -> Progress {
///         let Some(from) = self.job.lock().take() else {
///             return Progress::Done;
///         };
///         let mut data = [0; 64];
///         // Without the lock: this may wait for user space.
///         if self.cx.memory().read(from, &mut data).is_ok() {
///             self.cx.set_interrupt(true);
///         }
///         Progress::More
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

// SAFETY: A kthread worker does its own locking, and `T` is `Send` and `Sync`.
unsafe impl<T: Task> Send for Worker<T> {}
// SAFETY: A kthread worker does its own locking, and `T` is `Send` and `Sync`.
unsafe impl<T: Task> Sync for Worker<T> {}

impl<T: Task> Worker<T> {
    /// Creates an idle worker for the device of `cx`.
    ///
    /// # Errors
    ///
    /// ENOMEM if there is no memory for it or its thread; EINTR if this process is killed.
    pub fn new(cx: &Context, task: T) -> Result<Self> {
        let owner = cx.owner();
        let inner = KBox::try_pin_init(
            // INVARIANT: `mdev_run_worker()` returns a kthread worker, `kthread_init_work()` sets
            // the function, and `__module_get()` takes the reference.
            try_pin_init!(Inner {
                thread: {
                    // SAFETY: The function has no preconditions.
                    let thread = from_err_ptr(unsafe { raw::mdev_run_worker() })?;
                    NonNull::new(thread).ok_or(ENOMEM)?
                },
                work <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes and pinned.
                    unsafe { raw::kthread_init_work(slot, Some(Inner::<T>::work_fn)) }
                }),
                owner: {
                    // SAFETY: The module is loaded and in use, since the device of `cx` is being
                    // opened or is open.
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

    /// Runs the task once more after this call, from its next step on.
    pub fn kick(&self) {
        // SAFETY: By the type invariants of `Inner`, both pointers are valid and `work` is queued
        // only on this worker.
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
    /// Runs the task.
    ///
    /// # Safety
    ///
    /// It must be called by a kthread worker, with the `work` of a live `Self`.
    unsafe extern "C" fn work_fn(work: *mut raw::kthread_work) {
        KernelThread::allow();
        // SAFETY: The caller guarantees that `work` is that field of a live `Self`.
        let inner: &Self = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        while inner.task.step() == Progress::More {
            KernelThread::relax();
        }
    }
}

#[pinned_drop]
impl<T: Task> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, `work` and `thread` are valid, and `self` owns a
        // reference to `owner`. `self` is borrowed mutably, so nothing queues `work` any more, and
        // the thread has ended when the second call returns. The module that runs this code is in
        // use, so dropping this reference does not unload it.
        unsafe {
            raw::kthread_cancel_work_sync(self.work.get());
            raw::kthread_destroy_worker(self.thread.as_ptr());
            raw::module_put(self.owner.as_ptr());
        }
    }
}
