// SPDX-License-Identifier: GPL-2.0

//! The UAPI structures of VFIO, read from and written to user space.
//!
//! Each begins with `argsz`, the size of user space's buffer. A structure may be shorter in user
//! space than here, but never shorter than its first version.
//!
//! C header: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use crate::base::raw;
use core::{
    mem::{offset_of, size_of, MaybeUninit},
    ptr, slice,
};
use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// A UAPI structure.
///
/// # Safety
///
/// The type must consist of integers alone and have no padding, its first field must be
/// `argsz: u32`, and `MIN` must not exceed its size.
pub(super) unsafe trait Uapi {
    /// Size in bytes of the first version of the structure.
    const MIN: usize;
}

// SAFETY: In the header it is five u32, and a u32 in place of padding.
unsafe impl Uapi for raw::vfio_device_info {
    const MIN: usize = offset_of!(raw::vfio_device_info, cap_offset);
}
// SAFETY: In the header it is four u32.
unsafe impl Uapi for raw::vfio_irq_info {
    const MIN: usize = size_of::<raw::vfio_irq_info>();
}
// SAFETY: In the header it is five u32; the data that follows is a flexible array.
unsafe impl Uapi for raw::vfio_irq_set {
    const MIN: usize = size_of::<raw::vfio_irq_set>();
}
// SAFETY: In the header it is four u32, a u64, and ten u32.
unsafe impl Uapi for raw::vfio_device_gfx_plane_info {
    const MIN: usize = size_of::<raw::vfio_device_gfx_plane_info>();
}
// SAFETY: In the header it is two u32 and two u64.
unsafe impl Uapi for raw::vfio_precopy_info {
    const MIN: usize = size_of::<raw::vfio_precopy_info>();
}

/// Reads the first version of a structure from `arg`, and zeroes the rest.
///
/// The caller must check `argsz`; [`store`] limits it again.
///
/// # Errors
///
/// EFAULT if user space cannot be read.
pub(super) fn fetch<T: Uapi>(arg: usize) -> Result<T> {
    const {
        assert!(
            T::MIN <= size_of::<T>(),
            "a version longer than the structure"
        )
    };
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `value` has at least `T::MIN` bytes, as asserted above, and nobody else uses it.
    // `MaybeUninit<u8>` has no invalid values.
    let bytes =
        unsafe { slice::from_raw_parts_mut(value.as_mut_ptr().cast::<MaybeUninit<u8>>(), T::MIN) };
    UserSlice::new(UserPtr::from_addr(arg), T::MIN)
        .reader()
        .read_raw(bytes)?;
    // SAFETY: The contract of `Uapi` guarantees that `T` is integers alone, for which any bit
    // pattern is valid.
    Ok(unsafe { value.assume_init() })
}

/// Writes `value` to `arg`, as much of it as fits into `argsz` bytes.
///
/// # Errors
///
/// EFAULT if user space cannot be written.
pub(super) fn store<T: Uapi>(arg: usize, value: &T, argsz: u32) -> Result {
    let len = size_of::<T>().min(argsz as usize);
    // SAFETY: The contract of `Uapi` guarantees that `T` has no padding, so all its bytes are
    // initialized.
    let bytes = unsafe { slice::from_raw_parts(ptr::from_ref(value).cast(), len) };
    UserSlice::new(UserPtr::from_addr(arg), len)
        .writer()
        .write_slice(bytes)
}
