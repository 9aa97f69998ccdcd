// SPDX-License-Identifier: GPL-2.0

//! Eventfds that user space hands in: those that the SDK signals, and those that it listens to.
//!
//! C headers: `include/linux/eventfd.h`, `struct virqfd` in `include/linux/vfio.h`

use crate::base::raw;
use core::{cell::UnsafeCell, ffi::c_void, marker::PhantomPinned, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// A reference to an eventfd that is signalled.
///
/// # Invariants
///
/// The pointer is an `eventfd_ctx` of which this value owns one reference.
pub(crate) struct EventFd(NonNull<raw::eventfd_ctx>);

// SAFETY: `eventfd_ctx` is reference counted and locks by itself.
unsafe impl Send for EventFd {}
// SAFETY: As above; `eventfd_signal()` may be called from anywhere at any time.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Takes a reference to the eventfd `fd` of the current process; EBADF or EINVAL if it is none.
    pub(super) fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: The function takes any number.
        let ctx = from_err_ptr(unsafe { raw::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: `eventfd_ctx_fdget()` returned an owned reference.
        NonNull::new(ctx).map(EventFd).ok_or(EINVAL)
    }

    /// Adds one to the counter.
    pub(crate) fn signal(&self) {
        // SAFETY: By the type invariant.
        unsafe { raw::eventfd_signal(self.0.as_ptr()) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; the reference is given up here.
        unsafe { raw::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

/// Who is called when user space signals an eventfd.
pub(super) trait Listener: Sync {
    /// The eventfd was signalled. Runs in process context and may sleep.
    fn signalled(&self);
}

/// An eventfd that user space signals, or none.
///
/// # Invariants
///
/// `irqfd` is null or what `vfio_virqfd_enable()` stored there.
#[pin_data(PinnedDrop)]
pub(super) struct Irqfd {
    irqfd: UnsafeCell<*mut raw::virqfd>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: VFIO accesses the pointer under its own lock, and so nobody else does.
unsafe impl Send for Irqfd {}
// SAFETY: As above.
unsafe impl Sync for Irqfd {}

impl Irqfd {
    /// Listens to nothing.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            irqfd: UnsafeCell::new(core::ptr::null_mut()),
            _pin: PhantomPinned,
        })
    }

    /// Listens to the eventfd `fd` on behalf of `listener`; EBUSY if it listens to one already.
    ///
    /// # Safety
    ///
    /// `listener` lives until [`disable`](Self::disable) has returned, or this value is dropped.
    pub(super) unsafe fn enable<L: Listener>(self: Pin<&Self>, listener: &L, fd: i32) -> Result {
        // SAFETY: `self` is pinned and its destructor disables, so VFIO may keep the pointer to it;
        // the caller guarantees the same of `listener`. `thread` casts back to the same type.
        to_result(unsafe {
            raw::vfio_virqfd_enable(
                core::ptr::from_ref(listener).cast_mut().cast(),
                None,
                Some(Self::thread::<L>),
                core::ptr::null_mut(),
                self.irqfd.get(),
                fd,
            )
        })
    }

    /// Listens no more. When this returns the listener is not being called.
    pub(super) fn disable(&self) {
        // SAFETY: By the type invariant; a null pointer is legal.
        unsafe { raw::vfio_virqfd_disable(self.irqfd.get()) };
    }

    /// # Safety
    ///
    /// `listener` is a live `L`.
    unsafe extern "C" fn thread<L: Listener>(listener: *mut c_void, _data: *mut c_void) {
        // SAFETY: By the function's contract, which `enable` passes on to its caller.
        unsafe { &*listener.cast::<L>() }.signalled();
    }
}

#[pinned_drop]
impl PinnedDrop for Irqfd {
    fn drop(self: Pin<&mut Self>) {
        self.disable();
    }
}
