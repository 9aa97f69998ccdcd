// SPDX-License-Identifier: GPL-2.0

//! Generated bindings of mdev, VFIO, eventfd and what else the SDK calls. Private to the SDK.
//!
//! Types that the kernel crate binds itself are the kernel crate's, so that they are the same
//! types.

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

// SAFETY: A newtype around `Storage`.
unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}
// SAFETY: A type of size zero.
unsafe impl<T> Zeroable for __IncompleteArrayField<T> {}

/// The error for an errno that the kernel crate has no constant for.
pub fn error(errno: u32) -> kernel::error::Error {
    kernel::error::Error::from_errno(-(errno as ffi::c_int))
}

include!(concat!(env!("MDEV_SDK_OBJ"), "/bindings_generated.rs"));

mod helpers {
    use super::*;
    include!(concat!(env!("MDEV_SDK_OBJ"), "/helpers_generated.rs"));
}
