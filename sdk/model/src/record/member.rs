// SPDX-License-Identifier: GPL-2.0

//! A field of a record as a value: where it is in the encoding, and what it is.

use core::marker::PhantomData;

use super::Field;

/// A field with type `F` of the record `R`. [`field!`](crate::field!) makes it.
///
/// # Examples
///
/// [`field!`](crate::field!) has one.
#[derive(Debug)]
pub struct Member<R, F> {
    offset: usize,
    types: PhantomData<fn(R) -> F>,
}

impl<R, F> Clone for Member<R, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, F> Copy for Member<R, F> {}

impl<R: Field, F: Field> Member<R, F> {
    /// Creates the field at `offset`, which `of` returns of a record; for `field!`.
    #[doc(hidden)]
    pub const fn new(offset: usize, of: fn(&R) -> &F) -> Self {
        // Only its type is of use.
        let _ = of;
        Member {
            offset,
            types: PhantomData,
        }
    }

    /// Returns the offset in bytes in the record's encoding.
    pub const fn offset(self) -> usize {
        self.offset
    }
}

/// Returns whether two names are the same, in a constant.
#[doc(hidden)]
pub const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Returns a field of a [`record!`](crate::record!) as a [`Member`](crate::record::Member): its
/// offset in the encoding and its type, for what reads or writes that field alone.
///
/// # Examples
///
/// ```
/// mdev_model::record! {
///     /// A request in a ring, to which the device adds the result.
///     pub struct Request {
///         pub address: u64,
///         pub len: u32,
///         pub status: u32,
///     }
/// }
///
/// let status = mdev_model::field!(Request, status);
/// assert_eq!(status.offset(), 12);
/// ```
#[macro_export]
macro_rules! field {
    ($record:ty, $field:ident) => {{
        const OFFSET: usize = <$record>::offset_of(stringify!($field));
        $crate::record::Member::new(OFFSET, |record: &$record| &record.$field)
    }};
}
