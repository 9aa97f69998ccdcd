// SPDX-License-Identifier: GPL-2.0

//! When an unmap is over, so that a device pins nothing of what it has just given back.
//!
//! type1 calls `dma_unmap` of each device in the container, one after the other and without a lock,
//! and then looks whether something is pinned in the mapping, which is there until then. It begins
//! anew if so, and calls `BUG()` after ten times. So for a device that was asked the memory is
//! unmapped already.
//!
//! VFIO tells no device when it is through. But whatever unmaps is a system call of some thread,
//! and a file whose last reference a thread drops in one is released when the thread is about to
//! return to user space, and not before: `fput()` leaves that to the task's work. So each unmap
//! drops a file, a [`UnmapNotifier`]. User space can map something else at the same IOVAs
//! afterwards, and finds the device informed.
//!
//! C headers: `include/linux/file.h`, `include/linux/anon_inodes.h`; `fput()` in `fs/file_table.c`,
//! `resume_user_mode_work()` in `include/linux/resume_user_mode.h`

use super::Pins;
use crate::base::raw;
use core::{cell::UnsafeCell, ptr::NonNull};
use kernel::{error::from_err_ptr, ffi::c_void, prelude::*, sync::Arc};

/// A file that nobody opens, to be dropped in an unmap.
///
/// # Invariants
///
/// It is one of [`FOPS`], this is its only reference, and its private data is null.
pub(super) struct UnmapNotifier(NonNull<raw::file>);

// SAFETY: A file belongs to no thread.
unsafe impl Send for UnmapNotifier {}

/// Tells a notice from others that are under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

impl UnmapNotifier {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: `FOPS` is static.
        let file = from_err_ptr(unsafe {
            raw::anon_inode_getfile(
                c"[mdev-unmap]".as_char_ptr(),
                &FOPS.0,
                core::ptr::null_mut(),
                raw::O_RDONLY as c_int,
            )
        });
        // INVARIANT: As it was made here.
        file.ok()
            .and_then(NonNull::new)
            .map(UnmapNotifier)
            .ok_or(ENOMEM)
    }

    pub(super) fn id(&self) -> Id {
        Id(self.0.as_ptr() as usize)
    }

    /// Calls `pins.returned()` with its [`id`](Self::id) once this thread's system call is over.
    pub(super) fn post(self, pins: Arc<Pins>) {
        // SAFETY: By the type invariant nobody else looks at the file before it is dropped below,
        // and that is the last reference.
        unsafe { (*self.0.as_ptr()).private_data = Arc::into_raw(pins).cast_mut().cast() };
    }
}

impl Drop for UnmapNotifier {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { raw::fput(self.0.as_ptr()) };
    }
}

struct Fops(raw::file_operations);

// SAFETY: Nobody writes to it.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(raw::file_operations {
    owner: {
        extern "C" {
            static __this_module: UnsafeCell<c_void>;
        }
        // SAFETY: The `struct module` of this one, which modpost makes; only its address is taken.
        unsafe { __this_module.get().cast() }
    },
    release: Some(release),
    ..pin_init::zeroed()
});

/// # Safety
///
/// Called by the VFS once, at the end of a [`UnmapNotifier`].
unsafe extern "C" fn release(_inode: *mut raw::inode, file: *mut raw::file) -> c_int {
    // SAFETY: By the function's contract.
    let pins = NonNull::new(unsafe { (*file).private_data.cast::<Pins>() });
    if let Some(pins) = pins {
        // SAFETY: `post` has put it there.
        let pins = unsafe { Arc::from_raw(pins.as_ptr()) };
        pins.returned(Id(file as usize));
    }
    0
}
