// SPDX-License-Identifier: GPL-2.0

//! The closing record: the length and the checksum of a session.

use crate::common::stream::*;
use mdev_model::stream::{LoadError, StreamChecksum, Tag, END_LEN, HEADER_LEN};

/// A session whose closing record has the given header and payload.
fn ending(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [&Session::new().record(SHORT, b"x").cut(), header, payload].concat()
}

#[test]
fn the_closing_record_must_be_mandatory_of_its_length_and_tell_the_sessions() {
    let session = ending(&[], &[]);
    let whole = Session::new().record(SHORT, b"x").end();
    let header = &whole[session.len()..][..HEADER_LEN];
    let payload = &whole[session.len() + HEADER_LEN..];
    let length = session.len() as u64;
    let told = |length: u64| [&length.to_le_bytes(), &payload[8..]].concat();
    let end = Tag::END.0;

    assert_eq!(refusal(&ending(header, payload)), None);
    for (header, payload, expected) in [
        (
            raw_header(11, 0, end),
            payload.to_vec(),
            LoadError::WrongLength,
        ),
        (
            raw_header(13, 0, end),
            payload.to_vec(),
            LoadError::WrongLength,
        ),
        (
            raw_header(u64::MAX, 0, end),
            payload.to_vec(),
            LoadError::WrongLength,
        ),
        (
            raw_header(12, 1, end),
            payload.to_vec(),
            LoadError::WrongLength,
        ),
        (header.to_vec(), told(length + 1), LoadError::WrongLength),
        (header.to_vec(), told(length - 1), LoadError::WrongLength),
        (header.to_vec(), told(length + 28), LoadError::WrongLength),
        (
            header.to_vec(),
            [&payload[..8], &[0; 4]].concat(),
            LoadError::WrongChecksum,
        ),
    ] {
        assert_eq!(
            refusal(&ending(&header, &payload)),
            Some(expected),
            "{payload:x?}"
        );
    }
}

#[test]
fn the_checksum_is_crc32c_of_everything_before_itself() {
    let session = whole_session();
    let (covered, checksum) = session.split_at(session.len() - 4);
    assert_eq!(checksum, crc32c::crc32c(covered).to_le_bytes());
    // The published check value of CRC-32C, so that both are that algorithm.
    assert_eq!(!kernel_crc32c(!0, b"123456789"), 0xe306_9283);
}

#[test]
fn the_length_is_that_of_all_records_before_the_closing_one() {
    let session = whole_session();
    let end = session.len() - HEADER_LEN - END_LEN;
    assert_eq!(session[end + HEADER_LEN..][..8], (end as u64).to_le_bytes());

    let mut tally = StreamChecksum::new(kernel_crc32c);
    assert_eq!(tally.length(), 0);
    session[..end]
        .chunks(7)
        .for_each(|part| tally.account(part));
    assert_eq!(tally.length(), end as u64);
    assert_eq!(tally.end()[..], session[end..]);
}

#[test]
fn bytes_without_a_reference_count_as_the_others_and_after_an_error_not_at_all() {
    let mut whole = StreamChecksum::new(kernel_crc32c);
    whole.account(b"memory");
    let mut pieces = StreamChecksum::new(kernel_crc32c);
    pieces.account(b"mem");
    assert_eq!(pieces.try_account(9, |_| Err("a fault")), Err("a fault"));
    let sum = |seed| Ok::<_, ()>(kernel_crc32c(seed, b"ory"));
    assert_eq!(pieces.try_account(3, sum), Ok(()));
    assert_eq!(pieces.end(), whole.end());
    assert_eq!(pieces.length(), 6);
}
