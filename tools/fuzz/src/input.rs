// SPDX-License-Identifier: GPL-2.0
//! Typed input of a fuzzer's bytes.

use arbitrary::{Arbitrary, Unstructured};

/// Returns the input that `data` stands for; `None` if it is too short for one.
pub fn of<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(data)).ok()
}
