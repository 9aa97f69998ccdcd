// SPDX-License-Identifier: GPL-2.0

//! The payload of pages of VRAM: its layout and its checks.

use mgpu_model::pages::*;
use proptest::prelude::*;

const PAGES: usize = 300;
const SIZE: u32 = (PAGES * PAGE) as u32;

proptest! {
    #[test]
    fn a_payload_is_accepted_exactly_if_it_is_of_whole_pages_inside_of_vram(
        offset in prop_oneof![
            (0..=PAGES as u64 + 1).prop_map(|page| page * PAGE as u64),
            0..2 * u64::from(SIZE),
            (0..20u64).prop_map(|page| (page * PAGE as u64).wrapping_neg()),
        ],
        len in prop_oneof![
            (0..=RUN_PAGES + 1).prop_map(|pages| pages * PAGE),
            0..(RUN_PAGES + 1) * PAGE,
        ],
    ) {
        let mut payload = offset.to_le_bytes().to_vec();
        payload.resize(8 + len, 0xa5);
        let whole = offset % 4096 == 0 && len % 4096 == 0;
        let inside = u128::from(offset) + len as u128 <= u128::from(SIZE);
        let good = whole && inside && len != 0 && len <= 65536;
        match decode(&payload, SIZE) {
            Ok((at, data)) => {
                prop_assert!(good);
                prop_assert_eq!((at as u64, data), (offset, &payload[8..]));
            }
            Err(_) => prop_assert!(!good),
        }
    }
}

#[test]
fn a_payload_is_its_offset_and_its_pages() {
    let mut payload = encode_header(7).to_vec();
    assert_eq!(payload, 0x7000u64.to_le_bytes());
    payload.resize(8 + 2 * PAGE, 0x11);
    let (at, data) = decode(&payload, SIZE).unwrap();
    assert_eq!((at, data), (7 * PAGE, &[0x11; 2 * PAGE][..]));
}

#[test]
fn a_payload_without_an_offset_is_refused() {
    for len in 0..8 {
        let refused = decode(&[0; 8][..len], SIZE).unwrap_err();
        assert_eq!(refused, "a VRAM record without an offset");
    }
}

#[test]
fn a_payload_is_of_1_to_16_whole_pages() {
    assert_eq!(PAYLOAD_MAX, 8 + 65536);
    let payload = [0; PAYLOAD_MAX];
    assert!(decode(&payload, SIZE).is_ok());
    for len in [0, PAGE - 1, PAGE + 1, (RUN_PAGES + 1) * PAGE] {
        let refused = decode(&vec![0; HEADER_LEN + len], SIZE).unwrap_err();
        assert_eq!(refused, "a VRAM record that is not of 1 to 16 whole pages");
    }
}
