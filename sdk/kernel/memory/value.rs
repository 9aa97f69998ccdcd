// SPDX-License-Identifier: GPL-2.0

//! Values in guest memory: their bytes on the stack, in the encoding of records.

use crate::base::raw;
use kernel::prelude::*;
use mdev_model::record::Field;

/// The most bytes of a value, because they are on the stack.
const MAX: usize = 512;

/// Checks, while the driver is compiled, that a `T` has bytes, and not too many.
const fn check<T: Field>() {
    assert!(T::LEN > 0, "a value of no bytes");
    assert!(
        T::LEN <= MAX,
        "a value in guest memory has at most 512 bytes; read larger ones in parts"
    );
}

/// Returns the value of the bytes that `read` has filled.
///
/// # Errors
///
/// That of `read`; EBADMSG if no value has this encoding.
pub(super) fn decoded<T: Field>(read: impl FnOnce(&mut [u8]) -> Result) -> Result<T> {
    const { check::<T>() };
    let mut bytes = [0; MAX];
    let bytes = &mut bytes[..T::LEN];
    read(bytes)?;
    let mut value = T::ZERO;
    let taken = value.take(bytes);
    taken.map_err(|_| raw::error(raw::EBADMSG))?;
    Ok(value)
}

/// Calls `write` with the encoding of `value`.
///
/// # Errors
///
/// That of `write`.
pub(super) fn encoded<T: Field>(value: &T, write: impl FnOnce(&[u8]) -> Result) -> Result {
    const { check::<T>() };
    let mut bytes = [0; MAX];
    let bytes = &mut bytes[..T::LEN];
    value.put(bytes);
    write(bytes)
}
