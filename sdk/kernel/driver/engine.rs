// SPDX-License-Identifier: GPL-2.0

//! Work that a device does outside of the callback that requested it.
//!
//! The SDK stops the work between two steps whenever the device must be quiescent, and continues it
//! afterwards; a driver only says what a step is. Each [`Engine`] has a kernel thread of its own.
//! The SDK ends the thread's waits for guest memory when the device is closed.
//!
//! The kernel crate's work items keep themselves alive, and cannot be waited for. A device must
//! know that its work has ended before it is dropped, and its module with it.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::{engines::Kick, Context};
use crate::base::{compat::smp_mb, raw, wait::KernelThread};
use core::{ops::Deref, ptr::NonNull};
use kernel::{
    container_of,
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
    },
    time::{msecs_to_jiffies, Delta, Jiffies, Msecs},
    types::Opaque,
};

/// When [`Task::step`] must be called again.
///
/// # Examples
///
/// ```
/// # use kernel::time::Delta;
/// # use mdev_sdk::Step;
/// /// Returns when a timer that has `ticks` to go must be looked at again.
/// fn next(ticks: u32) -> Step {
///     match ticks {
///         0 => Step::Idle,
///         some => Step::After(Delta::from_millis(some.into())),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Now: there is more to do.
    More,
    /// After this time, rounded up to the kernel's timer ticks; earlier if the engine is
    /// [kicked](Engine::kick). The time does not migrate, and a stop ends it.
    After(Delta),
    /// At the next [kick](Engine::kick).
    Idle,
}

/// The work of an [`Engine`], and the data that it shares with the device's callbacks.
///
/// # Examples
///
/// [`Engine`] has one.
pub trait Task: Send + Sync + 'static {
    /// Does a step of the work, and returns when the next one is due.
    ///
    /// A step may find nothing to do: the SDK also calls it when the device runs again after a
    /// migration or a reset. It may sleep, and never runs twice at the same time. While it accesses
    /// guest memory it must not hold a lock that `read` or `write` of
    /// [`Operations`](super::Operations) takes. Whoever stops the device waits for the end of the
    /// step, so work that a guest can make long must be cut into steps.
    fn step(&self, cx: &Context) -> Step;
}

/// A task and the thread that runs it.
///
/// # Invariants
///
/// - `kicked` and `delayed` are initialized to call [`run_kicked`](Self::run_kicked) and
///   [`run_delayed`](Self::run_delayed), and are queued only on `thread`.
/// - `thread` is a valid kthread worker. It is destroyed on drop, so they run only while this value
///   lives.
/// - This value owns a reference to the module of the driver, so the code that the thread runs
///   stays loaded even if the value is leaked.
#[pin_data(PinnedDrop)]
struct Inner<T: Task> {
    #[pin]
    task: T,
    cx: Arc<Context>,
    /// Whether no step may begin any more.
    ended: Atomic<bool>,
    /// Whether a step is in progress, or has found that it may not begin.
    stepping: Atomic<bool>,
    #[pin]
    kicked: Opaque<raw::kthread_work>,
    /// What [`Step::After`] has asked for.
    #[pin]
    delayed: Opaque<raw::kthread_delayed_work>,
    thread: NonNull<raw::kthread_worker>,
}

// SAFETY: A kthread worker does its own locking, and all other fields are `Send`.
unsafe impl<T: Task> Send for Inner<T> {}
// SAFETY: A kthread worker does its own locking, and all other fields are `Sync`.
unsafe impl<T: Task> Sync for Inner<T> {}

/// A task that a kernel thread runs, step by step, whenever it is [kicked](Self::kick).
///
/// No step runs while the device is quiescent, during a reset, or after the engine was dropped: the
/// SDK waits for the step that is in progress, and begins the next one when the device runs again.
///
/// # Examples
///
/// ```
/// # use kernel::{new_mutex, prelude::*, sync::{Arc, Mutex}};
/// # use mdev_sdk::{Context, Engine, Step, Task};
/// #[pin_data]
/// struct Copier {
///     /// Where to copy from, if there is something to copy.
///     #[pin]
///     job: Mutex<Option<u64>>,
/// }
///
/// impl Task for Copier {
///     fn step(&self, cx: &Context) -> Step {
///         let Some(from) = self.job.lock().take() else {
///             return Step::Idle;
///         };
///         let mut data = [0; 64];
///         // Without the lock: this may wait for user space.
///         if cx.memory().read(from, &mut data).is_ok() {
///             cx.set_interrupt(true);
///         }
///         Step::More
///     }
/// }
///
/// fn open(cx: Arc<Context>) -> Result<Engine<Copier>> {
///     Engine::new(cx, pin_init!(Copier { job <- new_mutex!(None, "card_job") }))
/// }
///
/// fn doorbell(engine: &Engine<Copier>, from: u64) {
///     *engine.job.lock() = Some(from);
///     engine.kick();
/// }
/// ```
pub struct Engine<T: Task>(Arc<Inner<T>>);

impl<T: Task> Engine<T> {
    /// Creates an idle engine for the device of `cx`.
    ///
    /// # Errors
    ///
    /// Returns the error of `task`; ENOMEM if there is no memory for it or its thread; EINTR if
    /// this process is killed.
    pub fn new<E>(cx: Arc<Context>, task: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let inner = Arc::pin_init::<Error>(
            // INVARIANT: `kthread_init_work()` and `kthread_init_delayed_work()` set the functions,
            // `mdev_run_worker()` returns a kthread worker, and `__module_get()` takes the
            // reference.
            try_pin_init!(Inner {
                task <- task,
                cx,
                ended: Atomic::new(false),
                stepping: Atomic::new(false),
                kicked <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes and pinned.
                    unsafe { raw::kthread_init_work(slot, Some(Inner::<T>::run_kicked)) }
                }),
                delayed <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is valid for writes and pinned.
                    unsafe { raw::kthread_init_delayed_work(slot, Some(Inner::<T>::run_delayed)) }
                }),
                // The last field: an error after it would leave the thread running.
                thread: {
                    // SAFETY: The function has no preconditions.
                    let thread = from_err_ptr(unsafe { raw::mdev_run_worker() })?;
                    let thread = NonNull::new(thread).ok_or(ENOMEM)?;
                    // SAFETY: The module is loaded and in use, since the device of `cx` is being
                    // opened or is open.
                    unsafe { raw::__module_get(cx.owner().as_ptr()) };
                    thread
                },
            } ? Error),
            GFP_KERNEL,
        )?;
        let engine = Engine(inner);
        engine.0.cx.engines.add(engine.0.clone())?;
        Ok(engine)
    }

    /// Runs the task once more after this call, from its next step on: at once, or when the device
    /// runs again if it is stopped.
    #[inline]
    pub fn kick(&self) {
        self.0.kick();
    }

    /// Returns what kicks the engine, also from code that does not know its task.
    pub(super) fn kicker(&self) -> Arc<dyn Kick> {
        self.0.clone()
    }
}

impl<T: Task> Deref for Engine<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.task
    }
}

impl<T: Task> Drop for Engine<T> {
    fn drop(&mut self) {
        let this: *const Inner<T> = &raw const *self.0;
        let (cx, engines) = (&self.0.cx, &self.0.cx.engines);
        engines.remove(this.cast());
        // A step sets `stepping` and then looks at `ended`, so that one of both is seen.
        self.0.ended.store(true, Relaxed);
        smp_mb();
        let is_over = || !self.0.stepping.load(Acquire);
        // The step may wait for guest memory that this process provides, and would be waited for
        // below by a thread that cannot be killed.
        if engines.wait_killable(is_over).is_err() {
            cx.memory().while_refusing(|| engines.wait(is_over));
        }
    }
}

impl<T: Task> Kick for Inner<T> {
    #[inline]
    fn kick(&self) {
        // SAFETY: By the type invariants, both pointers are valid and `kicked` is queued only on
        // this worker.
        unsafe { raw::kthread_queue_work(self.thread.as_ptr(), self.kicked.get()) };
    }
}

impl<T: Task> Inner<T> {
    /// Runs the task after a kick.
    ///
    /// # Safety
    ///
    /// It must be called by a kthread worker, with the `kicked` of a live `Self`.
    unsafe extern "C" fn run_kicked(work: *mut raw::kthread_work) {
        // SAFETY: The caller guarantees that `work` is that field of a live `Self`.
        unsafe { &*container_of!(Opaque::cast_from(work), Self, kicked) }.run();
    }

    /// Runs the task after a delay.
    ///
    /// # Safety
    ///
    /// It must be called by a kthread worker, with the work of the `delayed` of a live `Self`.
    unsafe extern "C" fn run_delayed(work: *mut raw::kthread_work) {
        // SAFETY: The caller guarantees that `work` is in that field of a live `Self`.
        unsafe {
            let delayed = container_of!(work, raw::kthread_delayed_work, work);
            &*container_of!(Opaque::cast_from(delayed), Self, delayed)
        }
        .run();
    }

    /// Runs steps until there are no more, or none may run.
    fn run(&self) {
        KernelThread::allow();
        let engines = &self.cx.engines;
        while !self.ended.load(Acquire) {
            match engines.run(|| self.step()) {
                Some(Step::More) => KernelThread::relax(),
                Some(Step::After(delay)) => return self.run_after(jiffies(delay)),
                Some(Step::Idle) | None => return,
            }
        }
    }

    /// Runs a step, unless the engine was dropped.
    fn step(&self) -> Step {
        self.stepping.store(true, Relaxed);
        smp_mb();
        let step = match self.ended.load(Relaxed) {
            true => Step::Idle,
            false => self.task.step(&self.cx),
        };
        self.stepping.store(false, Release);
        step
    }

    fn run_after(&self, delay: Jiffies) {
        let (thread, work) = (self.thread.as_ptr(), self.delayed.get());
        // SAFETY: By the type invariants, both pointers are valid and `delayed` is queued only on
        // this worker.
        unsafe { raw::kthread_mod_delayed_work(thread, work, delay) };
    }
}

/// Returns `delay`, rounded up.
fn jiffies(delay: Delta) -> Jiffies {
    let millis = delay.as_micros_ceil().max(0) as u64;
    msecs_to_jiffies(Msecs::try_from(millis.div_ceil(1000)).unwrap_or(Msecs::MAX))
}

#[pinned_drop]
impl<T: Task> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, the works and `thread` are valid, and `self` owns a
        // reference to the module. `self` is borrowed mutably, so nothing kicks it any more. Once
        // `kicked` is cancelled only `delayed` itself queues `delayed`, which the second call
        // prevents, and the thread has ended when the third one returns. The module that runs this
        // code is in use, so dropping this reference does not unload it.
        unsafe {
            raw::kthread_cancel_work_sync(self.kicked.get());
            raw::kthread_cancel_delayed_work_sync(self.delayed.get());
            raw::kthread_destroy_worker(self.thread.as_ptr());
            raw::module_put(self.cx.owner().as_ptr());
        }
    }
}
