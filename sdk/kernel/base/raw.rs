// SPDX-License-Identifier: GPL-2.0

//! Generated bindings of mdev, VFIO, eventfd and the rest of the C API that the SDK calls.
//!
//! They are private to the SDK. Types that the kernel crate binds are re-exported from there, so
//! that both crates mean the same types.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ptr_cast_constness,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#![cfg_attr(CONFIG_RUSTC_HAS_UNNECESSARY_TRANSMUTES, allow(unnecessary_transmutes))]

pub use helpers::*;
pub use kernel::bindings::*;

use kernel::ffi;
use pin_init::{MaybeZeroable, Zeroable};

// SAFETY: This is a newtype around `Storage`, for which all zeros is valid.
unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}
// SAFETY: The type has size zero.
unsafe impl<T> Zeroable for __IncompleteArrayField<T> {}

/// Returns the error for an errno for which the kernel crate has no constant.
pub fn error(errno: u32) -> kernel::error::Error {
    kernel::error::Error::from_errno(-(errno as ffi::c_int))
}

include!(concat!(env!("MDEV_SDK_OBJ"), "/bindings_generated.rs"));

mod helpers {
    use super::*;
    include!(concat!(env!("MDEV_SDK_OBJ"), "/helpers_generated.rs"));
}
