// SPDX-License-Identifier: GPL-2.0

//! Trace events. Each function here triggers the event of its name, `mdev_sdk:mdev_sdk_NAME`, if
//! it is switched on, and costs a branch that is patched out if it is not.
//!
//! `trace.h` has the events, Documentation/tracing.md describes them. The functions are not
//! inlined: generic code would take their keys into each driver's module. Where their arguments
//! would cost something in comparison with what the event is about, the caller asks first whether
//! it is on.

use super::raw;
use core::ptr::from_ref;
use kernel::{device::Device, error::Result, jump_label::static_branch_unlikely, macros::paste};

/// Whether an event is on.
macro_rules! is_on {
    ($name:ident) => {
        paste! {
            // SAFETY: trace.c defines the key, which is that of a trace point.
            unsafe {
                static_branch_unlikely!(
                    raw::[<__tracepoint_mdev_sdk_ $name>],
                    raw::tracepoint,
                    key
                )
            }
        }
    };
}

macro_rules! events {
    ($($(#[$about:meta])* $name:ident($($argument:ident: $ty:ty),*);)*) => {$(
        $(#[$about])*
        #[inline(never)]
        pub(crate) fn $name(device: &Device, $($argument: $ty),*) {
            if is_on!($name) {
                paste! {
                    // SAFETY: `device` is a valid device, of which the event takes the name. The
                    // other arguments are numbers.
                    unsafe {
                        raw::[<rust_do_trace_mdev_sdk_ $name>](
                            from_ref(device).cast_mut().cast(),
                            $($argument),*
                        )
                    };
                }
            }
        }
    )*};
}

events! {
    /// The device was to walk from one migration state to the next; 0 or a negative errno says
    /// whether it did.
    arc(from: u32, to: u32, error: i32);
    /// A migration session begins.
    session(number: u64, loads: bool);
    /// A record was saved, and waits to be read.
    save_record(tag: u32, size: u64);
    /// A record has arrived as a whole, and is being checked.
    load_record(tag: u32, size: u64);
    /// Pages of guest memory were to be pinned; 0 or a negative errno says whether they were.
    pin(iova: u64, pages: u64, error: i32);
    /// Pages of guest memory were unpinned.
    unpin(iova: u64, pages: u64, error: i32);
    /// User space unmaps guest memory.
    unmap(iova: u64, last: u64);
    /// User space has read the DMA log.
    report(iova: u64, last: u64, dirty: u64);
}

/// Returns whether [`pin`] is on.
#[inline(always)]
pub(crate) fn pin_is_on() -> bool {
    is_on!(pin)
}

/// Returns whether [`unpin`] is on.
#[inline(always)]
pub(crate) fn unpin_is_on() -> bool {
    is_on!(unpin)
}

/// Returns what an event says of `result`: 0, or a negative errno.
pub(crate) fn error_of<T>(result: &Result<T>) -> i32 {
    result.as_ref().map_or_else(|error| error.to_errno(), |_| 0)
}
