// SPDX-License-Identifier: GPL-2.0

//! Match data: its layout, and the reasons with which a destination refuses differences.

use crate::common::stream::*;
use mdev_model::stream::{name, Format, LoadError, MatchData, MATCH_LEN};
use proptest::prelude::*;

fn own() -> MatchData {
    MatchData::new(&FORMAT, TYPE, GEOMETRY)
}

/// Returns the receiver's answer to a session with `payload` as its match data.
fn refusal_of(payload: &[u8; MATCH_LEN]) -> Option<LoadError> {
    let whole = Session::with(&own()).cut();
    let header = &whole[..whole.len() - MATCH_LEN];
    refusal(&[header, payload].concat())
}

#[test]
fn each_field_has_its_place() {
    let data = MatchData {
        format: name("format"),
        version: 0x0102,
        readable_by: 0x0304,
        kind: name("sixteen bytes at"),
        geometry: [0x0506_0708_090a_0b0c, u64::MAX],
    };
    let bytes = data.encode();
    assert_eq!(&bytes[..8], b"MDEVMIG\n");
    assert_eq!(bytes[8..10], [1, 0], "framing");
    assert_eq!(bytes[10..12], [2, 1], "version");
    assert_eq!(bytes[12..14], [4, 3], "oldest reader");
    assert_eq!(bytes[14..16], [0, 0], "reserved");
    assert_eq!(&bytes[16..32], b"format\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(&bytes[32..48], b"sixteen bytes at");
    assert_eq!(bytes[48..56], [0xc, 0xb, 0xa, 9, 8, 7, 6, 5]);
    assert_eq!(bytes[56..64], [0xff; 8]);
    assert_eq!(MatchData::decode(&bytes), Ok(data));
}

#[test]
fn the_devices_own_match_data_is_accepted() {
    assert_eq!(refusal_of(&own().encode()), None);
}

#[test]
fn each_field_that_differs_in_any_bit_is_refused_with_its_own_reason() {
    let by_field = [
        (0..8, LoadError::NotOurs),         // magic
        (8..10, LoadError::NotOurs),        // framing
        (14..16, LoadError::NotOurs),       // reserved
        (16..32, LoadError::OtherFormat),   // format
        (32..48, LoadError::OtherType),     // type
        (48..64, LoadError::OtherGeometry), // geometry
    ];
    for (field, expected) in by_field {
        for at in field {
            for bit in 0..8 {
                let mut bytes = own().encode();
                bytes[at] ^= 1 << bit;
                assert_eq!(refusal_of(&bytes), Some(expected), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn the_first_difference_in_the_order_of_the_checks_is_the_reason() {
    let mut data = own();
    data.geometry[1] += 1;
    assert_eq!(refusal_of(&data.encode()), Some(LoadError::OtherGeometry));
    data.kind = name("sample-2");
    assert_eq!(refusal_of(&data.encode()), Some(LoadError::OtherType));
    data.version = 1;
    assert_eq!(refusal_of(&data.encode()), Some(LoadError::OtherVersion));
    data.format = name("other");
    assert_eq!(refusal_of(&data.encode()), Some(LoadError::OtherFormat));
}

/// Returns whether a driver that writes `version` and reads versions from `oldest` accepts a stream
/// of version `stream.0` that readers from version `stream.1` can load.
fn takes((version, oldest): (u16, u16), stream: (u16, u16)) -> bool {
    let format = Format {
        version,
        oldest,
        ..FORMAT
    };
    let data = MatchData {
        version: stream.0,
        readable_by: stream.1,
        ..own()
    };
    match data.check(&format, TYPE, GEOMETRY) {
        Ok(()) => true,
        Err(LoadError::OtherVersion) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_version_window_is_what_the_reader_reads_and_what_the_writer_promises() {
    // (reader's version, oldest), (stream's version, readable_by), whether it is accepted
    let table = [
        ((1, 1), (1, 1), true),
        // A newer reader reads down to its oldest.
        ((3, 2), (3, 3), true),
        ((3, 2), (2, 1), true),
        ((3, 2), (1, 1), false),
        ((3, 1), (1, 1), true),
        // An older reader accepts what the writer says it can read.
        ((3, 2), (4, 3), true),
        ((3, 2), (9, 2), true),
        ((3, 2), (9, 1), true),
        ((3, 2), (4, 4), false),
        ((3, 2), (9, 5), false),
        // The ends of the range.
        ((0, 0), (0, 0), true),
        ((0, 0), (1, 0), true),
        ((0, 0), (1, 1), false),
        ((3, 2), (0, 0), false),
        ((u16::MAX, u16::MAX), (u16::MAX, u16::MAX), true),
        ((u16::MAX, u16::MAX), (u16::MAX - 1, 0), false),
        ((3, 3), (u16::MAX, 3), true),
        ((3, 3), (u16::MAX, 4), false),
    ];
    for (reader, stream, taken) in table {
        assert_eq!(takes(reader, stream), taken, "{reader:?} reads {stream:?}");
    }
}

proptest! {
    #[test]
    fn a_reader_takes_its_own_version_and_the_older_ones_of_its_window(
        window in (any::<u16>(), any::<u16>()),
        stream: u16,
        readable_by: u16,
    ) {
        let (version, oldest) = (window.0.max(window.1), window.0.min(window.1));
        prop_assert!(takes((version, oldest), (version, readable_by)));
        if stream <= version {
            prop_assert_eq!(takes((version, oldest), (stream, readable_by)), stream >= oldest);
        }
    }

    #[test]
    fn match_data_comes_back_as_it_was(
        format: [u8; 16],
        version: u16,
        readable_by: u16,
        kind: [u8; 16],
        geometry: [u64; 2],
    ) {
        let data = MatchData { format, version, readable_by, kind, geometry };
        prop_assert_eq!(MatchData::decode(&data.encode()), Ok(data));
    }
}

#[test]
fn a_name_has_up_to_16_bytes() {
    assert_eq!(name(""), [0; 16]);
    assert_eq!(&name("mtty"), b"mtty\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(&name("exactly sixteen!"), b"exactly sixteen!");
    assert!(std::panic::catch_unwind(|| name("seventeen bytes !")).is_err());
}
