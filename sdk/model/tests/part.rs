// SPDX-License-Identifier: GPL-2.0
//! Parts of BARs: which a function can have, and what is in them.

use mdev_model::config::{Bar, Part, BARS};
use proptest::prelude::*;

const PAGE: u64 = 4096;

/// Returns the BARs of the tests: 16 pages, ports, less than a page, none, and 2 GiB with 64 bits.
fn bars() -> [Bar; BARS] {
    let large = Bar::Memory64 {
        size: 2 << 30,
        prefetchable: true,
    };
    [
        Bar::memory32(16 * PAGE as u32),
        Bar::Io { size: 256 },
        Bar::memory32(16),
        Bar::None,
        large,
        Bar::None,
    ]
}

fn part(bar: usize, bytes: std::ops::Range<u64>) -> Part {
    Part { bar, bytes }
}

fn check(part: &Part, others: &[Part]) -> Result<(), &'static str> {
    part.check(&bars(), PAGE, others)
}

#[test]
fn whole_bars_and_pages_of_them_can_be_parts() {
    for bytes in [0..16 * PAGE, 0..PAGE, 15 * PAGE..16 * PAGE] {
        assert_eq!(check(&part(0, bytes.clone()), &[]), Ok(()), "{bytes:?}");
    }
    assert_eq!(check(&part(4, 0..2 << 30), &[]), Ok(()));
}

#[test]
fn each_rule_has_a_sentence() {
    let no_bar = "there is no such memory BAR";
    for bar in [1, 3, 5, 6, usize::MAX] {
        assert_eq!(check(&part(bar, 0..PAGE), &[]), Err(no_bar), "{bar}");
    }
    let unaligned = "offset and size must be multiples of the page size, and the size not 0";
    #[expect(clippy::reversed_empty_ranges, reason = "a driver may compute one")]
    for bytes in [
        0..0,
        PAGE..PAGE,
        2 * PAGE..PAGE,
        8..PAGE,
        0..PAGE + 8,
        0..16,
    ] {
        assert_eq!(
            check(&part(0, bytes.clone()), &[]),
            Err(unaligned),
            "{bytes:?}"
        );
    }
    let beyond = "it must be within the BAR";
    for bytes in [16 * PAGE..17 * PAGE, 0..17 * PAGE, 0..1 << 63] {
        assert_eq!(
            check(&part(0, bytes.clone()), &[]),
            Err(beyond),
            "{bytes:?}"
        );
    }
    assert_eq!(check(&part(2, 0..PAGE), &[]), Err(beyond));
}

proptest! {
    /// Two parts overlap exactly if they have a page of a BAR in common.
    #[test]
    fn parts_do_not_overlap(
        (bar, start, len) in (prop_oneof![Just(0), Just(4)], 0..8u64, 1..8u64),
        (other_bar, other_start, other_len) in (prop_oneof![Just(0), Just(4)], 0..8u64, 1..8u64),
    ) {
        let new = part(bar, start * PAGE..(start + len) * PAGE);
        let other_bytes = other_start * PAGE..(other_start + other_len) * PAGE;
        let other = part(other_bar, other_bytes);
        let common = (start..start + len).any(|page| {
            other.offset_of(bar, page * PAGE).is_some()
        });
        let answer = match common {
            true => Err("it must not overlap another part"),
            false => Ok(()),
        };
        prop_assert_eq!(check(&new, std::slice::from_ref(&other)), answer);
        prop_assert_eq!(check(&other, &[new]), answer);
    }

    /// An offset in a part is what lies between it and the part's first byte.
    #[test]
    fn an_offset_is_in_the_part_or_not(
        bar in 0..3usize,
        start in 0..1u64 << 40,
        len in 0..1u64 << 40,
        at in 0..1u64 << 41,
    ) {
        let one = part(bar, start..start + len);
        for other in 0..3 {
            let inside = other == bar && (start..start + len).contains(&at);
            prop_assert_eq!(one.offset_of(other, at), inside.then(|| at - start));
        }
    }
}
