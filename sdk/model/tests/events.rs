// SPDX-License-Identifier: GPL-2.0

//! The record of vectors that have sent an event.

use mdev_model::stream::{check_events, encode_events, event_is_set, LoadError, EVENTS_MAX};
use proptest::prelude::*;

#[test]
fn vector_0_is_the_lowest_bit_of_the_first_byte() {
    let mut bitmap = [0xff; EVENTS_MAX];
    let payload = encode_events(12, |vector| matches!(vector, 0 | 3 | 9), &mut bitmap);
    assert_eq!(payload, Some(&[0b1001, 0b10][..]));
}

#[test]
fn without_an_event_there_is_no_record() {
    for vectors in [0, 1, 8, 2048] {
        assert_eq!(
            encode_events(vectors, |_| false, &mut [0; EVENTS_MAX]),
            None
        );
    }
}

#[test]
fn a_record_of_another_device_is_refused() {
    for (bitmap, vectors, valid) in [
        (&[0xff][..], 8, true),
        (&[0x7f], 7, true),
        (&[0x80], 7, false),
        (&[0xff], 7, false),
        (&[1, 0], 8, false),
        (&[1], 9, false),
        (&[], 1, false),
        (&[0, 1], 9, true),
        (&[0, 2], 9, false),
    ] {
        let checked = check_events(bitmap, vectors);
        assert_eq!(checked.is_ok(), valid, "{bitmap:?} for {vectors}");
        assert!(valid || matches!(checked, Err(LoadError::BadState(_))));
    }
}

proptest! {
    #[test]
    fn what_was_raised_is_read_back(raised in prop::collection::vec(any::<bool>(), 1..2049)) {
        let mut bitmap = [0; EVENTS_MAX];
        let payload = encode_events(raised.len(), |vector| raised[vector], &mut bitmap);
        prop_assert_eq!(payload.is_some(), raised.contains(&true));
        if let Some(payload) = payload {
            prop_assert_eq!(check_events(payload, raised.len()), Ok(()));
            for (vector, &raised) in raised.iter().enumerate() {
                prop_assert_eq!(event_is_set(payload, vector), raised);
            }
            prop_assert!(!event_is_set(payload, raised.len()));
        }
    }
}
