// SPDX-License-Identifier: GPL-2.0

//! The pages of ranges of bytes, against the page of each single byte.

use mdev_model::paging::{pieces, Span};
use proptest::prelude::*;
use std::collections::BTreeSet;

const PAGE: usize = 4096;

proptest! {
    #[test]
    fn pieces_are_the_range_in_order_each_in_one_page(offset in 0..5 * PAGE, len in 0..5 * PAGE) {
        let mut next = 0;
        for piece in pieces(PAGE, offset, len) {
            prop_assert_eq!(piece.bytes.start, next);
            prop_assert!(!piece.bytes.is_empty());
            prop_assert!(piece.offset + piece.bytes.len() <= PAGE);
            prop_assert_eq!(piece.page * PAGE + piece.offset, offset + next);
            next = piece.bytes.end;
        }
        prop_assert_eq!(next, len);
    }

    #[test]
    fn a_span_is_the_pages_of_its_bytes(address in 0..100_000u64, len in 1..50_000usize) {
        let span = Span::of(PAGE, address, len).unwrap();
        let of_bytes = (address..address + len as u64).map(|byte| byte / PAGE as u64);
        let pages: BTreeSet<u64> = of_bytes.collect();
        prop_assert_eq!(span.all_numbers(PAGE).collect::<BTreeSet<_>>(), pages.clone());
        prop_assert_eq!(span.pages, pages.len());
        prop_assert_eq!(span.start % PAGE as u64, 0);
        prop_assert_eq!(span.last(PAGE), span.start + (span.pages * PAGE) as u64 - 1);
        let offset = (address - span.start) as usize;
        prop_assert_eq!(
            span.numbers(PAGE, offset, len).collect::<BTreeSet<_>>(),
            pages
        );
    }

    #[test]
    fn two_overlap_if_they_share_a_byte(
        address in 0..60_000u64, len in 1..30_000usize,
        other in 0..60_000u64, other_len in 1..30_000u64,
    ) {
        let span = Span::of(PAGE, address, len).unwrap();
        let addresses = other..=other + other_len - 1;
        let shares = addresses.clone().any(|byte| (span.start..=span.last(PAGE)).contains(&byte));
        prop_assert_eq!(span.overlaps(PAGE, &addresses), shares);
    }
}

#[test]
fn no_byte_and_a_range_that_wraps_have_no_span() {
    assert_eq!(Span::of(PAGE, 0, 0), None);
    assert_eq!(Span::of(PAGE, u64::MAX, 2), None);
}

#[test]
fn all_of_memory_has_one() {
    let span = Span::of(PAGE, 0, usize::MAX).unwrap();
    assert_eq!(span.last(PAGE), u64::MAX);
    assert!(span.overlaps(PAGE, &(u64::MAX..=u64::MAX)));
    assert_eq!(span.all_numbers(PAGE), 0..=u64::MAX / PAGE as u64);
    let last = Span::of(PAGE, u64::MAX, 1).unwrap();
    assert_eq!((last.pages, last.last(PAGE)), (1, u64::MAX));
    assert!(!last.overlaps(PAGE, &(0..=0)));
}
