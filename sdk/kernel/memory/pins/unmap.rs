// SPDX-License-Identifier: GPL-2.0

//! The end of an unmap, until which a device must pin nothing of what it has given back.
//!
//! type1 calls `dma_unmap` of each device in the container, one after the other and without a lock,
//! and then checks whether anything is pinned in the mapping. If so it starts again, and calls
//! `BUG()` after eleven times. So a device whose `dma_unmap` was called treats the memory as
//! unmapped, although the mapping still exists.
//!
//! VFIO does not tell a device when the unmap is over. But every unmap is a system call, and a file
//! whose last reference is dropped during a system call is released just before the thread returns
//! to user space: `fput()` leaves that to the task's work. So each unmap drops a file, an
//! [`UnmapNotifier`]. User space can map something else at the same IOVAs only afterwards, when the
//! device has been told.
//!
//! C headers: [`include/linux/file.h`](srctree/include/linux/file.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h); `fput()` in
//! [`fs/file_table.c`](srctree/fs/file_table.c), `resume_user_mode_work()` in
//! [`resume_user_mode.h`](srctree/include/linux/resume_user_mode.h)

use super::Pins;
use crate::base::raw;
use core::{cell::UnsafeCell, ptr::NonNull};
use kernel::{error::from_err_ptr, ffi::c_void, prelude::*, sync::Arc};

/// A file that nobody opens, to be dropped during an unmap.
///
/// # Invariants
///
/// The file has [`FOPS`], this is its only reference, and its private data is null until
/// [`post`](Self::post).
pub(super) struct UnmapNotifier(NonNull<raw::file>);

// SAFETY: A reference to a file may be used and dropped by any thread.
unsafe impl Send for UnmapNotifier {}

/// Identifies a notice among those that exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

impl UnmapNotifier {
    /// Creates a notice.
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
        // INVARIANT: The file was created above with `FOPS`, no private data, and one reference.
        file.ok()
            .and_then(NonNull::new)
            .map(UnmapNotifier)
            .ok_or(ENOMEM)
    }

    /// Returns what identifies the notice.
    pub(super) fn id(&self) -> Id {
        Id(self.0.as_ptr() as usize)
    }

    /// Makes the end of this thread's system call call `pins.returned()` with the [`id`](Self::id).
    pub(super) fn post(self, pins: Arc<Pins>) {
        // SAFETY: By the type invariant this is the only reference to the file, so nobody else
        // accesses it before it is dropped at the end of this function.
        unsafe { (*self.0.as_ptr()).private_data = Arc::into_raw(pins).cast_mut().cast() };
    }
}

impl Drop for UnmapNotifier {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns a reference.
        unsafe { raw::fput(self.0.as_ptr()) };
    }
}

struct Fops(raw::file_operations);

// SAFETY: The table is never written to.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(raw::file_operations {
    owner: {
        extern "C" {
            static __this_module: UnsafeCell<c_void>;
        }
        // SAFETY: modpost defines the `struct module` of this module; only its address is used.
        unsafe { __this_module.get().cast() }
    },
    release: Some(release),
    ..pin_init::zeroed()
});

/// Tells the pins of a posted notice.
///
/// # Safety
///
/// The VFS must call it, once, with the file of an [`UnmapNotifier`].
unsafe extern "C" fn release(_inode: *mut raw::inode, file: *mut raw::file) -> c_int {
    // SAFETY: The caller guarantees that the file is valid, and it has no other reference.
    let pins = NonNull::new(unsafe { (*file).private_data.cast::<Pins>() });
    if let Some(pins) = pins {
        // SAFETY: `post` has stored a reference there, which is taken back once.
        let pins = unsafe { Arc::from_raw(pins.as_ptr()) };
        pins.returned(Id(file as usize));
    }
    0
}
