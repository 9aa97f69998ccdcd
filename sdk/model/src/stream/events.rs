// SPDX-License-Identifier: GPL-2.0

//! The vectors that have sent an event, in a stream: a bitmap.

use super::record::LoadError;

/// The most bytes of the payload of a [`Tag::EVENTS`](super::Tag::EVENTS) record.
pub const EVENTS_MAX: usize = 2048 / 8;

/// Fills `bitmap`, which has a bit for each vector, the first in the lowest bit of the first byte,
/// from `raised`; returns the payload of the record, or `None` if no bit is set: then there is no
/// record.
pub fn encode_events(
    vectors: usize,
    raised: impl Fn(usize) -> bool,
    bitmap: &mut [u8; EVENTS_MAX],
) -> Option<&[u8]> {
    bitmap.fill(0);
    let bitmap = bitmap.get_mut(..vectors.div_ceil(8))?;
    for vector in (0..vectors).filter(|&vector| raised(vector)) {
        bitmap[vector / 8] |= 1 << (vector % 8);
    }
    bitmap.iter().any(|&bits| bits != 0).then_some(bitmap)
}

/// Checks the payload of an events record for a device with so many vectors.
///
/// # Errors
///
/// [`LoadError::BadState`] for another length, or a bit of a vector that the device lacks.
pub fn check_events(bitmap: &[u8], vectors: usize) -> Result<(), LoadError> {
    if bitmap.len() != vectors.div_ceil(8) {
        return Err(LoadError::BadState("the events record has another length"));
    }
    let beyond = (vectors..bitmap.len() * 8).any(|vector| event_is_set(bitmap, vector));
    match beyond {
        true => Err(LoadError::BadState(
            "an event of a vector that does not exist",
        )),
        false => Ok(()),
    }
}

/// Returns whether vector `vector` has sent an event, says a payload; `false` if it has no such
/// bit.
pub fn event_is_set(bitmap: &[u8], vector: usize) -> bool {
    bitmap
        .get(vector / 8)
        .is_some_and(|bits| bits & 1 << (vector % 8) != 0)
}
