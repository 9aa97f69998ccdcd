// SPDX-License-Identifier: GPL-2.0

//! The UAPI structures of VFIO, in and out of user space.
//!
//! Every one of them begins with `argsz`, the size that user space has room for; a structure may be
//! shorter in user space than here, never shorter than its first version.
//!
//! C header: `include/uapi/linux/vfio.h`

use crate::base::raw;
use core::mem::{offset_of, size_of};
use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// A UAPI structure.
///
/// # Safety
///
/// The type consists of integers alone, has no padding, and its first field is `argsz: u32`.
pub(super) unsafe trait Uapi {
    /// Size in bytes of the first version of the structure.
    const MIN: usize;
}

// SAFETY: See the header: five u32 and padding made explicit as a field.
unsafe impl Uapi for raw::vfio_device_info {
    const MIN: usize = offset_of!(raw::vfio_device_info, cap_offset);
}
// SAFETY: See the header: four u32.
unsafe impl Uapi for raw::vfio_irq_info {
    const MIN: usize = size_of::<raw::vfio_irq_info>();
}
// SAFETY: See the header: five u32, the data behind them is a flexible array.
unsafe impl Uapi for raw::vfio_irq_set {
    const MIN: usize = size_of::<raw::vfio_irq_set>();
}
// SAFETY: See the header: four u32, a u64, ten u32.
unsafe impl Uapi for raw::vfio_device_gfx_plane_info {
    const MIN: usize = size_of::<raw::vfio_device_gfx_plane_info>();
}
// SAFETY: See the header: two u32, two u64.
unsafe impl Uapi for raw::vfio_precopy_info {
    const MIN: usize = size_of::<raw::vfio_precopy_info>();
}

/// Reads the first version of a structure from `arg`; the rest of the result is zero. The caller
/// checks `argsz`, which [`store`] bounds again.
pub(super) fn fetch<T: Uapi>(arg: usize) -> Result<T> {
    let mut bytes = KVec::<u8>::new();
    UserSlice::new(UserPtr::from_addr(arg), T::MIN).read_all(&mut bytes, GFP_KERNEL)?;
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `bytes` has `T::MIN` bytes, which is at most the size of `T`, and does not overlap a
    // local variable.
    unsafe {
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), bytes.len())
    };
    // SAFETY: `Uapi` guarantees integers alone, for which every bit pattern is valid.
    Ok(unsafe { value.assume_init() })
}

/// Writes as much of `value` to `arg` as user space has room for.
pub(super) fn store<T: Uapi>(arg: usize, value: &T, argsz: u32) -> Result {
    let len = size_of::<T>().min(argsz as usize);
    // SAFETY: `Uapi` guarantees that `T` has no padding, so that all its bytes are initialised.
    let bytes = unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), len) };
    UserSlice::new(UserPtr::from_addr(arg), len)
        .writer()
        .write_slice(bytes)
}
