// SPDX-License-Identifier: GPL-2.0

//! File offsets, and the cutting of accesses.

use mdev_model::region::{access_width, file_offset, split, OFFSET_SHIFT};
use proptest::prelude::*;

/// Number of region indices in a 64-bit file offset.
const INDICES: u32 = 1 << (64 - OFFSET_SHIFT);

#[test]
fn regions_lie_where_vfio_pci_has_them() {
    assert_eq!(file_offset(0), 0);
    assert_eq!(file_offset(1), 0x100_0000_0000);
    // The configuration space is region 7.
    assert_eq!(file_offset(7), 0x700_0000_0000);
    assert_eq!(split(0x700_0000_0004), (7, 4));
    assert_eq!(split(0x0ff_ffff_ffff), (0, 0x0ff_ffff_ffff));
    assert_eq!(split(u64::MAX), (INDICES - 1, 0x0ff_ffff_ffff));
}

/// Returns the single accesses into which `len` bytes at `offset` are cut.
fn pieces(offset: u64, len: usize, widest: usize) -> Vec<(u64, usize)> {
    let (mut at, mut left) = (offset, len);
    std::iter::from_fn(|| {
        let width = access_width(at, left, widest);
        let piece = (width > 0).then_some((at, width));
        at += width as u64;
        left -= width;
        piece
    })
    .collect()
}

#[test]
fn an_access_is_cut_into_aligned_pieces() {
    assert_eq!(pieces(0, 0, 8), []);
    assert_eq!(pieces(3, 1, 8), [(3, 1)]);
    assert_eq!(pieces(0, 4, 4), [(0, 4)]);
    assert_eq!(pieces(0, 8, 4), [(0, 4), (4, 4)]);
    assert_eq!(pieces(0, 8, 8), [(0, 8)]);
    assert_eq!(pieces(4, 8, 8), [(4, 4), (8, 4)]);
    assert_eq!(pieces(1, 7, 8), [(1, 1), (2, 2), (4, 4)]);
    assert_eq!(pieces(6, 9, 8), [(6, 2), (8, 4), (12, 2), (14, 1)]);
}

proptest! {
    #[test]
    fn a_file_offset_comes_apart_as_it_was_put_together(
        index in 0..INDICES,
        offset in 0..1u64 << OFFSET_SHIFT,
    ) {
        prop_assert_eq!(split(file_offset(index) + offset), (index, offset));
    }

    #[test]
    fn a_piece_is_the_largest_that_is_aligned_and_does_not_overshoot(
        offset in 0..1u64 << OFFSET_SHIFT,
        left in 1..100usize,
        widest in prop::sample::select(vec![1usize, 2, 4, 8]),
    ) {
        let fits = |w: &usize| *w <= widest && *w <= left && offset % *w as u64 == 0;
        let expected = [8, 4, 2, 1].into_iter().find(fits);
        prop_assert_eq!(Some(access_width(offset, left, widest)), expected);
    }

    #[test]
    fn pieces_follow_each_other_without_gap_and_add_up(
        offset in 0..1u64 << 32,
        len in 0..100usize,
        widest in prop::sample::select(vec![1usize, 2, 4, 8]),
    ) {
        let mut next = offset;
        for (at, width) in pieces(offset, len, widest) {
            prop_assert_eq!(at, next);
            next += width as u64;
        }
        prop_assert_eq!(next, offset + len as u64);
    }
}
