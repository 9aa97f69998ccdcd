// SPDX-License-Identifier: GPL-2.0

//! Single records: their headers, which are known, skipped or refused, and their lengths.

use crate::common::stream::*;
use mdev_model::stream::{Header, LoadError, Tag, MATCH_LEN};
use proptest::prelude::*;

const OPTIONAL: u32 = 1;

/// A session that continues with a header.
fn with_header(size: u64, flags: u32, tag: Tag) -> Vec<u8> {
    Session::new().raw(&raw_header(size, flags, tag.0)).cut()
}

#[test]
fn a_header_is_size_flags_and_tag_in_little_endian() {
    let header = |optional| Header {
        size: 0x0102_0304_0506_0708,
        optional,
        tag: Tag(0x090a_0b0c),
    };
    let bytes = |flag| [8, 7, 6, 5, 4, 3, 2, 1, flag, 0, 0, 0, 0xc, 0xb, 0xa, 9];
    for optional in [false, true] {
        let bytes = bytes(u8::from(optional));
        assert_eq!(header(optional).encode(), bytes);
        assert_eq!(Header::decode(&bytes), Ok(header(optional)));
    }
}

proptest! {
    #[test]
    fn a_header_comes_back_as_it_was(size: u64, optional: bool, tag: u32) {
        let header = Header { size, optional, tag: Tag(tag) };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn an_optional_record_that_is_not_known_is_skipped_whatever_its_size(
        payload in prop::collection::vec(any::<u8>(), 0..5000),
        chunk in 1..200usize,
    ) {
        let session = Session::new()
            .record(SHORT, b"before")
            .optional_record(UNKNOWN, &payload)
            .record(SHORT, b"after")
            .end();
        let outcome = receive(session.chunks(chunk));
        prop_assert!(outcome.complete);
        let expected = [(SHORT, b"before".to_vec()), (SHORT, b"after".to_vec())];
        prop_assert_eq!(outcome.receiver.records, expected);
    }
}

#[test]
fn every_flag_but_optional_is_refused() {
    for bit in 1..32 {
        for flags in [1 << bit, 1 << bit | OPTIONAL] {
            for tag in [SHORT, UNKNOWN, Tag::MATCH, Tag::END] {
                let stream = with_header(0, flags, tag);
                assert_eq!(
                    refusal(&stream),
                    Some(LoadError::UnknownFlags),
                    "{flags:#x}"
                );
            }
        }
    }
}

#[test]
fn a_record_that_is_neither_known_nor_optional_is_refused() {
    // 0, the first unused tag of the SDK, the last of the SDK's, and tags of drivers.
    for tag in [0, 4, 0xff, UNKNOWN.0, u32::MAX] {
        let stream = with_header(0, 0, Tag(tag));
        assert_eq!(refusal(&stream), Some(LoadError::UnknownRecord), "{tag:#x}");
        let stream = with_header(0, OPTIONAL, Tag(tag));
        assert_eq!(refusal(&stream), None, "{tag:#x}");
    }
}

#[test]
fn an_optional_record_that_is_known_is_not_skipped() {
    let stream = Session::new().optional_record(SHORT, b"hint").cut();
    let outcome = receive([&stream[..]]);
    assert_eq!(outcome.receiver.records, [(SHORT, b"hint".to_vec())]);
}

#[test]
fn a_record_may_be_as_long_as_its_tag_allows() {
    for (tag, most) in [(SHORT, SHORT_MOST), (LONG, LONG_MOST)] {
        let outcome = receive([&Session::new().record(tag, &vec![7; most]).end()[..]]);
        assert!(outcome.complete);
        assert_eq!(outcome.receiver.records, [(tag, vec![7; most])]);
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_by_its_header_alone() {
    for (tag, most) in [(SHORT, SHORT_MOST as u64), (LONG, LONG_MOST as u64)] {
        for size in [most + 1, most + (1 << 32), u64::MAX - 15, u64::MAX] {
            for flags in [0, OPTIONAL] {
                let header = with_header(size, flags, tag);
                assert_eq!(refusal(&header), Some(LoadError::RecordTooLong), "{size}");

                // No part of a payload that follows is passed on either.
                let outcome = receive([&[header, vec![7; 2 * LONG_MOST]].concat()[..]]);
                assert_eq!(outcome.receiver.arriving, [], "{size}");
                assert_eq!(outcome.receiver.records, [], "{size}");
            }
        }
    }
}

#[test]
fn an_optional_record_that_has_no_end_has_none() {
    let stream = with_header(u64::MAX, OPTIONAL, UNKNOWN);
    let outcome = receive([
        &stream[..],
        &whole_session(),
        &[0; 100_000],
        &whole_session(),
    ]);
    assert_eq!((outcome.result, outcome.complete), (Ok(()), false));
    assert_eq!(outcome.receiver.begun, 1);
}

#[test]
fn a_stream_that_does_not_begin_with_match_data_is_refused_by_its_first_header() {
    for tag in [SHORT, UNKNOWN, Tag::CONFIG, Tag::END, Tag(0)] {
        for flags in [0, OPTIONAL] {
            let header = raw_header(12, flags, tag.0);
            assert_eq!(refusal(&header[..15]), None);
            assert_eq!(refusal(&header), Some(LoadError::NoMatchData), "{tag:?}");
        }
    }
}

#[test]
fn match_data_of_another_length_or_optional_is_refused_by_its_header() {
    let right = MATCH_LEN as u64;
    for size in [0, right - 1, right + 1, u64::MAX] {
        let header = raw_header(size, 0, Tag::MATCH.0);
        assert_eq!(refusal(&header), Some(LoadError::NoMatchData), "{size}");
        let later = with_header(size, 0, Tag::MATCH);
        assert_eq!(refusal(&later), Some(LoadError::NoMatchData), "{size}");
    }
    let optional = raw_header(right, OPTIONAL, Tag::MATCH.0);
    assert_eq!(refusal(&optional), Some(LoadError::NoMatchData));
    assert_eq!(refusal(&raw_header(right, 0, Tag::MATCH.0)), None);
}

#[test]
fn tags_of_the_sdk_and_of_drivers_do_not_meet() {
    let tags = [
        Tag::MATCH,
        Tag::END,
        Tag::CONFIG,
        Tag::INTERRUPT,
        Tag::EVENTS,
    ];
    assert_eq!(tags.map(|tag| tag.0), [1, 2, 3, 4, 5]);
    assert_eq!(Tag::FIRST_DRIVER.0, 0x100);
}

#[test]
fn each_refusal_has_a_reason_of_its_own() {
    let refusals = [
        LoadError::UnknownFlags,
        LoadError::NoMatchData,
        LoadError::NotOurs,
        LoadError::OtherFormat,
        LoadError::OtherVersion,
        LoadError::OtherType,
        LoadError::OtherGeometry,
        LoadError::UnknownRecord,
        LoadError::RecordTooLong,
        LoadError::WrongLength,
        LoadError::WrongChecksum,
        LoadError::BadState("a driver's own"),
        LoadError::NoMemory,
        LoadError::Killed,
    ];
    let reasons: std::collections::HashSet<_> = refusals.iter().map(|r| r.reason()).collect();
    assert_eq!(reasons.len(), refusals.len());
    assert!(reasons.contains("a driver's own"));
}
