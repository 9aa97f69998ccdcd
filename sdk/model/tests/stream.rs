// SPDX-License-Identifier: GPL-2.0

//! Whole streams: any segmentation, truncated and mutated sessions, consecutive sessions.

use crate::common::stream::*;
use mdev_model::stream::{LoadError, END_LEN, HEADER_LEN, MATCH_LEN};
use proptest::prelude::*;

/// Position of the first record after match data.
const FIRST: usize = HEADER_LEN + MATCH_LEN;

#[test]
fn a_whole_session_completes_with_its_known_records_in_order() {
    let outcome = receive([&whole_session()[..]]);
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.complete);
    assert_eq!((outcome.receiver.begun, outcome.receiver.completed), (1, 1));
    assert_eq!(
        outcome.receiver.records,
        [
            (SHORT, b"first".to_vec()),
            (LONG, vec![0x5a; 40]),
            (SHORT, vec![]),
        ]
    );
}

#[test]
fn a_session_without_records_completes() {
    let outcome = receive([&Session::new().end()[..]]);
    assert_eq!((outcome.result, outcome.complete), (Ok(()), true));
}

/// Generates sessions of any records that the receiver takes or skips.
fn session() -> impl Strategy<Value = Vec<u8>> {
    let record = prop_oneof![
        (Just((SHORT, false)), 0..=SHORT_MOST),
        (Just((LONG, false)), 0..=LONG_MOST),
        (Just((LONG, true)), 0..=LONG_MOST),
        (Just((UNKNOWN, true)), 0..=2 * LONG_MOST),
    ];
    prop::collection::vec((record, any::<u8>()), 0..6).prop_map(|records| {
        let mut session = Session::new();
        for (((tag, optional), len), seed) in records {
            // A pattern that does not repeat with any power of two.
            let payload: Vec<u8> = (0..len).map(|i| seed ^ (i % 251) as u8).collect();
            session = if optional {
                session.optional_record(tag, &payload)
            } else {
                session.record(tag, &payload)
            };
        }
        session.end()
    })
}

/// Returns `bytes` cut at the given places, each in 1/65536 of the length.
fn cut_at(bytes: &[u8], cuts: &[u16]) -> Vec<Vec<u8>> {
    let place = |cut: &u16| bytes.len() * usize::from(*cut) / 0x10000;
    let mut places: Vec<usize> = cuts.iter().map(place).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places
        .windows(2)
        .map(|w| bytes[w[0]..w[1]].to_vec())
        .collect()
}

proptest! {
    #[test]
    fn any_segmentation_of_a_session_gives_the_same_result(
        session in session(),
        cuts in prop::collection::vec(any::<u16>(), 0..20),
    ) {
        let whole = receive([&session[..]]);
        prop_assert!(whole.complete);
        prop_assert_eq!(&whole, &receive(cut_at(&session, &cuts).iter().map(Vec::as_slice)));
        prop_assert_eq!(&whole, &receive(session.chunks(1)));
    }

    #[test]
    fn any_segmentation_of_a_mutated_session_gives_the_same_refusal(
        session in session(),
        at in any::<prop::sample::Index>(),
        change in 1..=255u8,
        cuts in prop::collection::vec(any::<u16>(), 0..20),
    ) {
        let mut session = session;
        *at.get_mut(&mut session) ^= change;
        let whole = receive([&session[..]]);
        prop_assert!(!whole.complete);
        prop_assert_eq!(&whole, &receive(cut_at(&session, &cuts).iter().map(Vec::as_slice)));
        prop_assert_eq!(&whole, &receive(session.chunks(1)));
    }

    #[test]
    fn no_bytes_whatsoever_make_the_loader_panic(
        session in session(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(session.len());
        receive([&noise[..]]);
        receive([&session[..at], &noise[..]]);
    }
}

#[test]
fn a_session_torn_at_any_byte_is_not_complete() {
    let session = whole_session();
    for torn in 0..session.len() {
        let outcome = receive([&session[..torn]]);
        assert_eq!(outcome.result, Ok(()), "{torn} bytes");
        assert!(!outcome.complete, "{torn} bytes");
        assert_eq!(outcome.receiver.completed, 0, "{torn} bytes");
    }
}

#[test]
fn a_session_with_any_byte_changed_in_any_way_is_not_complete() {
    let session = whole_session();
    for at in 0..session.len() {
        for change in 1..=255 {
            let mut mutated = session.clone();
            mutated[at] ^= change;
            let outcome = receive([&mutated[..]]);
            assert!(!outcome.complete, "byte {at} changed by {change:#04x}");
            assert_eq!(
                outcome.receiver.completed, 0,
                "byte {at} changed by {change:#04x}"
            );
        }
    }
}

#[test]
fn a_session_with_a_record_dropped_repeated_or_moved_is_refused() {
    let record = |tag, payload: &[u8]| Session::new().record(tag, payload).cut()[FIRST..].to_vec();
    let (a, b) = (record(SHORT, b"aaaa"), record(LONG, b"bbbb"));
    let session = Session::new().raw(&a).raw(&b).end();
    let (start, end) = (&session[..FIRST], &session[FIRST + a.len() + b.len()..]);
    let with = |records: &[&[u8]]| [start, &records.concat(), end].concat();

    assert_eq!(refusal(&with(&[&a, &b])), None);
    assert_eq!(refusal(&with(&[&a])), Some(LoadError::WrongLength));
    assert_eq!(refusal(&with(&[&a, &a, &b])), Some(LoadError::WrongLength));
    assert_eq!(refusal(&with(&[&b, &a])), Some(LoadError::WrongChecksum));
    assert_eq!(refusal(&with(&[&a, &a])), Some(LoadError::WrongChecksum));
}

#[test]
fn a_refusal_is_for_good() {
    let (mut loader, mut receiver) = (loader(), Receiver::default());
    let refused = Session::new().record(UNKNOWN, b"").cut();
    assert_eq!(
        loader.push(&refused, &mut receiver),
        Err(LoadError::UnknownRecord)
    );

    let before = receiver.clone();
    for session in [&whole_session()[..], &[0]] {
        assert_eq!(
            loader.push(session, &mut receiver),
            Err(LoadError::UnknownRecord)
        );
        assert!(!loader.is_complete());
    }
    assert_eq!(receiver, before);
}

#[test]
fn whatever_the_receiver_refuses_is_refused_for_good() {
    for call in [Call::Begin, Call::Payload, Call::Record, Call::Complete] {
        let (mut loader, mut receiver) = (loader(), Receiver::default());
        receiver.refuses = Some(call);
        assert_eq!(
            loader.push(&whole_session(), &mut receiver),
            Err(REFUSED),
            "{call:?}"
        );
        assert!(!loader.is_complete(), "{call:?}");

        receiver.refuses = None;
        assert_eq!(
            loader.push(&whole_session(), &mut receiver),
            Err(REFUSED),
            "{call:?}"
        );
        assert_eq!(receiver.completed, 0, "{call:?}");
    }
}

#[test]
fn a_second_session_begins_anew_and_drops_the_first() {
    let second = Session::new().record(SHORT, b"second").end();
    let cut = Session::new().record(LONG, b"first").cut();
    for first in [whole_session(), Session::new().cut(), cut] {
        let outcome = receive([&[first, second.clone()].concat()[..]]);
        assert_eq!((outcome.result, outcome.complete), (Ok(()), true));
        assert_eq!(outcome.receiver.begun, 2);
        assert_eq!(outcome.receiver.records, [(SHORT, b"second".to_vec())]);
    }
}

#[test]
fn a_session_that_another_one_has_begun_after_is_not_complete() {
    let (mut loader, mut receiver) = (loader(), Receiver::default());
    loader.push(&whole_session(), &mut receiver).unwrap();
    assert!(loader.is_complete());
    loader
        .push(&Session::new().cut()[..1], &mut receiver)
        .unwrap();
    assert!(!loader.is_complete());
}

#[test]
fn a_second_session_inside_of_a_record_is_payload() {
    let cut = Session::new()
        .raw(&raw_header(LONG_MOST as u64, 0, LONG.0))
        .cut();
    let outcome = receive([&[cut, whole_session()].concat()[..]]);
    assert_eq!((outcome.receiver.begun, outcome.complete), (1, false));
    assert_eq!(outcome.receiver.arriving, whole_session());
}

#[test]
fn a_second_session_for_another_device_is_refused_though_the_first_was_whole() {
    let mut other = whole_session();
    other[FIRST - 1] ^= 1;
    let stream = [whole_session(), other].concat();
    assert_eq!(refusal(&stream), Some(LoadError::OtherGeometry));
}

#[test]
fn only_a_session_may_follow_a_session() {
    let session = whole_session();
    let end = &session[session.len() - HEADER_LEN - END_LEN..];
    let record = Session::new().record(SHORT, b"late").cut()[FIRST..].to_vec();
    for after in [end, &record] {
        let stream = [&session, after].concat();
        assert_eq!(refusal(&stream), Some(LoadError::NoMatchData));
    }
}
