// SPDX-License-Identifier: GPL-2.0

//! Eventfds from user space: those that the SDK signals, and those that it listens to.
//!
//! C headers: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h), `struct virqfd` in
//! [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use crate::base::raw;
use core::{cell::UnsafeCell, ffi::c_void, marker::PhantomPinned, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
};

/// An eventfd that the SDK signals.
///
/// # Invariants
///
/// The pointer is a valid `eventfd_ctx`, and this value owns one reference to it.
pub(crate) struct EventFd(NonNull<raw::eventfd_ctx>);

// SAFETY: `eventfd_ctx` is reference counted and does its own locking.
unsafe impl Send for EventFd {}
// SAFETY: `eventfd_ctx` does its own locking; `eventfd_signal()` may be called in any context.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Takes a reference to the eventfd `fd` of the current process.
    ///
    /// # Errors
    ///
    /// EBADF if `fd` is not open, EINVAL if it is not an eventfd.
    pub(super) fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: The function accepts any number.
        let ctx = from_err_ptr(unsafe { raw::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: `eventfd_ctx_fdget()` returned a reference that the caller owns.
        NonNull::new(ctx).map(EventFd).ok_or(EINVAL)
    }

    /// Adds one to the counter.
    pub(crate) fn signal(&self) {
        // SAFETY: By the type invariant the pointer is valid.
        unsafe { raw::eventfd_signal(self.0.as_ptr()) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariant `self` owns the reference, and it is not used after this.
        unsafe { raw::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

/// A receiver of the signals of an eventfd.
pub(super) trait Listener: Sync {
    /// Handles a signal of the eventfd by user space, in process context; may sleep.
    fn signalled(&self);
}

/// A slot for an eventfd that the SDK listens to.
///
/// # Invariants
///
/// `irqfd` is null or a pointer that `vfio_virqfd_enable()` stored there.
#[pin_data(PinnedDrop)]
pub(super) struct Irqfd {
    irqfd: UnsafeCell<*mut raw::virqfd>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Only VFIO accesses the pointer, under a lock of its own.
unsafe impl Send for Irqfd {}
// SAFETY: Only VFIO accesses the pointer, under a lock of its own.
unsafe impl Sync for Irqfd {}

impl Irqfd {
    /// Creates a slot that listens to no eventfd.
    pub(super) fn new() -> impl PinInit<Self> {
        // INVARIANT: `irqfd` is null.
        pin_init!(Self {
            irqfd: UnsafeCell::new(core::ptr::null_mut()),
            _pin: PhantomPinned,
        })
    }

    /// Listens to the eventfd `fd` on behalf of `listener`.
    ///
    /// # Errors
    ///
    /// EBUSY if the slot listens to an eventfd already, EBADF or EINVAL if `fd` is not one, ENOMEM.
    ///
    /// # Safety
    ///
    /// `listener` must live until [`disable`](Self::disable) has returned, or this value is
    /// dropped.
    pub(super) unsafe fn enable<L: Listener>(self: Pin<&Self>, listener: &L, fd: i32) -> Result {
        // INVARIANT: VFIO writes a `virqfd` to `irqfd`, or nothing.
        // SAFETY: `self` is pinned and its destructor disables, so VFIO may keep the pointer to
        // `irqfd`. The caller guarantees that `listener` lives as long. `thread` casts back to the
        // same type.
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

    /// Stops listening, and waits until the listener is no longer being called.
    pub(super) fn disable(&self) {
        // SAFETY: By the type invariant `irqfd` is null or from `vfio_virqfd_enable()`; both are
        // allowed.
        unsafe { raw::vfio_virqfd_disable(self.irqfd.get()) };
    }

    /// Calls the listener, on a work queue of VFIO's.
    ///
    /// # Safety
    ///
    /// `listener` must point to a live `L`.
    unsafe extern "C" fn thread<L: Listener>(listener: *mut c_void, _data: *mut c_void) {
        // SAFETY: The caller guarantees that `listener` is a live `L`; `enable` obliges its own
        // caller to that.
        unsafe { &*listener.cast::<L>() }.signalled();
    }
}

#[pinned_drop]
impl PinnedDrop for Irqfd {
    fn drop(self: Pin<&mut Self>) {
        self.disable();
    }
}
