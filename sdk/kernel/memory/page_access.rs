// SPDX-License-Identifier: GPL-2.0

//! Accesses to bytes of pages that user space or another kernel thread may write meanwhile.
//!
//! | function | for | accesses |
//! |---|---|---|
//! | [`copy_from_page`], [`copy_to_page`] | bytes without a meaning to the kernel | in any order |
//! | [`load_from_page`], [`store_to_page`] | a value that the other side may wait for | at once, if it is aligned |

use crate::base::raw;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{atomic_load, atomic_store, Acquire, Release},
};
use mdev_model::paging::{self, Piece};

/// Copies `piece` of a range of bytes from `page` to its place in `data`, which holds the range.
///
/// User space or another kernel thread may write the page meanwhile. The kernel's own copy allows
/// that, and the bytes have no meaning to the kernel.
///
/// # Safety
///
/// `page` must not be freed during the call.
#[inline]
pub(super) unsafe fn copy_from_page(page: *mut raw::page, piece: &Piece, data: &mut [u8]) {
    let data = &mut data[piece.bytes.clone()];
    // SAFETY: The caller guarantees that `page` is not freed, and a piece is within one page.
    unsafe { raw::memcpy_from_page(data.as_mut_ptr().cast(), page, piece.offset, data.len()) };
}

/// Copies `piece` of a range of bytes, which `data` holds, to `page`; for races see
/// [`copy_from_page`].
///
/// # Safety
///
/// `page` must not be freed during the call.
#[inline]
pub(super) unsafe fn copy_to_page(page: *mut raw::page, piece: &Piece, data: &[u8]) {
    let data = &data[piece.bytes.clone()];
    // SAFETY: The caller guarantees that `page` is not freed, and a piece is within one page.
    unsafe { raw::memcpy_to_page(page, piece.offset, data.as_ptr().cast(), data.len()) };
}

/// Evaluates `$access` with `$Integer` as the integer that is as wide as `$piece`, if there is one
/// and the processor accesses the piece at once; else `$otherwise`.
macro_rules! at_once {
    ($piece:expr, |$Integer:ident| $access:expr, else $otherwise:expr) => {
        match $piece.bytes.len() {
            width if !width.is_power_of_two() || $piece.offset & (width - 1) != 0 => $otherwise,
            1 => at_once!(as i8, $Integer, $access),
            2 => at_once!(as i16, $Integer, $access),
            4 => at_once!(as u32, $Integer, $access),
            8 => at_once!(as u64, $Integer, $access),
            _ => $otherwise,
        }
    };
    (as $integer:ty, $Integer:ident, $access:expr) => {{
        type $Integer = $integer;
        $access
    }};
}

/// Calls `access` with the address of the byte at `offset` of `page`.
///
/// # Safety
///
/// `page` must not be freed during the call, and `offset` must be within it.
unsafe fn with_address(page: *mut raw::page, offset: usize, access: impl FnOnce(*mut u8)) {
    // SAFETY: The caller guarantees that `page` is not freed.
    let start = unsafe { raw::kmap_local_page(page) };
    access(start.cast::<u8>().wrapping_add(offset));
    // SAFETY: `access` maps nothing, so this was the thread's last mapping.
    unsafe { raw::kunmap_local(start) };
}

/// Loads `piece` of a value from `page` to its place in `data`, which holds the value. If the piece
/// is as long as an integer and aligned: at once, and before all that follows.
///
/// # Safety
///
/// `page` must not be freed during the call.
pub(super) unsafe fn load_from_page(page: *mut raw::page, piece: &Piece, data: &mut [u8]) {
    at_once!(piece, |Integer| {
        let load = |at: *mut u8| {
            // SAFETY: `at` is in the page and a multiple of the integer's size. Writers of guest
            // memory are no Rust code: processors of guests, and C functions of this kernel.
            let value = unsafe { atomic_load(at.cast::<Integer>(), Acquire) };
            data[piece.bytes.clone()].copy_from_slice(&value.to_ne_bytes());
        };
        // SAFETY: The caller guarantees that `page` is not freed, and a piece is within one page.
        unsafe { with_address(page, piece.offset, load) }
    }, else {
        // SAFETY: The caller guarantees it.
        unsafe { copy_from_page(page, piece, data) }
    });
}

/// Stores `piece` of a value, which `data` holds, in `page`. If the piece is as long as an integer
/// and aligned: at once, and after all that precedes.
///
/// # Safety
///
/// `page` must not be freed during the call.
pub(super) unsafe fn store_to_page(page: *mut raw::page, piece: &Piece, data: &[u8]) {
    at_once!(piece, |Integer| {
        let mut bytes = [0; size_of::<Integer>()];
        bytes.copy_from_slice(&data[piece.bytes.clone()]);
        let value = Integer::from_ne_bytes(bytes);
        // SAFETY: As in `load_from_page`.
        let store = |at: *mut u8| unsafe { atomic_store(at.cast::<Integer>(), value, Release) };
        // SAFETY: The caller guarantees that `page` is not freed, and a piece is within one page.
        unsafe { with_address(page, piece.offset, store) }
    }, else {
        // SAFETY: The caller guarantees it.
        unsafe { copy_to_page(page, piece, data) }
    });
}

/// Calls `each` for the pieces of the `len` bytes at `offset`, and stops at the first error.
pub(super) fn in_pages(offset: usize, len: usize, each: impl FnMut(Piece) -> Result) -> Result {
    paging::pieces(PAGE_SIZE, offset, len).try_for_each(each)
}
