// SPDX-License-Identifier: GPL-2.0

//! Records of fixed size: their layout, what they refuse, and that nothing is lost.

use mdev_model::{
    field,
    record::{Field, Record},
    stream::LoadError,
};
use proptest::prelude::*;

mdev_model::record! {
    struct Channel {
        address: u64,
        enabled: bool,
    }
}

mdev_model::record! {
    /// Every kind of field, one of them a struct.
    struct State {
        a: u8,
        b: u16,
        c: u32,
        channels: [Channel; 2],
        data: [u8; 3],
    }
}

const LEN: usize = 1 + 2 + 4 + 2 * 9 + 3;

impl Record for State {
    fn check(&self) -> Result<(), &'static str> {
        match self.a & 0x80 {
            0 => Ok(()),
            _ => Err("a reserved bit"),
        }
    }
}

fn refusal(bytes: &[u8]) -> &'static str {
    match State::decode(bytes) {
        Err(LoadError::BadState(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn fields_are_little_endian_in_their_order_without_padding() {
    let channel = |address, enabled| Channel { address, enabled };
    let state = State {
        a: 0x01,
        b: 0x0203,
        c: 0x0405_0607,
        channels: [channel(0x08, true), channel(0x09 << 56, false)],
        data: [10, 11, 12],
    };
    let mut expected = vec![1, 3, 2, 7, 6, 5, 4];
    expected.extend([8, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 9, 0]);
    expected.extend([10, 11, 12]);
    assert_eq!(State::LEN, LEN);
    assert_eq!(state.encode().to_vec(), expected);
}

#[test]
fn a_member_is_where_the_encoding_has_its_field() {
    let offsets = [
        field!(State, a).offset(),
        field!(State, b).offset(),
        field!(State, c).offset(),
        field!(State, channels).offset(),
        field!(State, data).offset(),
        field!(Channel, enabled).offset(),
    ];
    assert_eq!(offsets, [0, 1, 3, 7, 25, 8]);
}

#[test]
fn zero_is_the_value_whose_encoding_is_zero() {
    assert_eq!(State::ZERO.encode(), [0; LEN]);
}

#[test]
fn only_the_exact_length_is_decoded() {
    for len in (0..2 * LEN).filter(|len| *len != LEN) {
        assert_eq!(refusal(&vec![0; len]), "a record of another length");
    }
}

#[test]
fn decoding_includes_the_check() {
    let mut bytes = State::ZERO.encode();
    bytes[0] = 0x80;
    assert_eq!(refusal(&bytes), "a reserved bit");
}

#[test]
fn a_flag_is_0_or_1() {
    let mut bytes = State::ZERO.encode();
    bytes[7 + 8] = 2;
    assert_eq!(refusal(&bytes), "a flag that is neither 0 nor 1");
}

proptest! {
    #[test]
    fn what_is_decoded_encodes_to_the_same_bytes(bytes in any::<[u8; LEN]>()) {
        let valid = bytes[0] & 0x80 == 0 && bytes[15] <= 1 && bytes[24] <= 1;
        match State::decode(&bytes) {
            Ok(state) => prop_assert!(valid && state.encode() == bytes),
            Err(_) => prop_assert!(!valid),
        }
    }

    #[test]
    fn a_value_with_valid_flags_survives(mut bytes in any::<[u8; LEN]>(), flags in any::<[bool; 2]>()) {
        bytes[0] &= 0x7f;
        (bytes[15], bytes[24]) = (flags[0].into(), flags[1].into());
        let state = State::decode(&bytes).unwrap();
        prop_assert_eq!(state.channels.map(|channel| channel.enabled), flags);
        prop_assert_eq!(State::decode(&state.encode()), Ok(state));
    }
}
