// SPDX-License-Identifier: GPL-2.0
//! The places at which streams are torn, changed and cut into pieces: everywhere in a short stream.
//! In a long one only some, because each costs a load of the whole, and a reset of a device that
//! may have much memory.

use std::collections::BTreeSet;

/// The maximum size of a short stream.
const SHORT: usize = 1024;
/// The number of bytes at the beginning of a long stream, where the headers are, that are all
/// changed, as are half as many at the end.
const HEAD: usize = 128;
/// The number of places between them, evenly spaced.
const SPREAD: usize = 100;

/// The number of bytes of a stream that are passed in small pieces.
pub const SMALL: usize = 64 << 10;
/// The size of the pieces after them.
pub const LARGE: usize = 1 << 20;

/// Returns sizes of pieces for a stream of `len` bytes: those of `split` repeatedly, then large
/// ones.
pub fn pieces(len: usize, split: &[usize]) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut small = split.iter().cycle();
    let mut at = 0;
    while at < len {
        let size = match small.next() {
            Some(size) if at < SMALL => *size,
            _ => LARGE,
        };
        sizes.push(size.min(len - at));
        at += size;
    }
    sizes
}

/// Returns offsets of bytes of a stream, in order.
pub fn places(len: usize) -> Vec<usize> {
    if len <= SHORT {
        return (0..len).collect();
    }
    let spread = (0..SPREAD).map(|part| len / SPREAD * part + len % SPREAD * part / SPREAD);
    let all: BTreeSet<usize> = (0..HEAD).chain(len - HEAD / 2..len).chain(spread).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole_stream() {
        assert_eq!(pieces(8, &[3, 1]), [3, 1, 3, 1]);
        assert!(pieces(0, &[1]).is_empty());
        for len in [1, SMALL, SMALL + 1, 5 * LARGE] {
            let sizes = pieces(len, &[7, 2]);
            assert_eq!(sizes.iter().sum::<usize>(), len);
            assert!(sizes.len() < SMALL, "{len}");
        }
    }

    #[test]
    fn a_short_stream_is_taken_byte_by_byte() {
        for len in [0, 1, 17, SHORT] {
            assert!(places(len).into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn a_long_stream_is_taken_at_its_ends_and_all_over() {
        for len in [SHORT + 1, 5000, 1 << 20, (1 << 34) - 1] {
            let places = places(len);
            assert!(places.len() <= HEAD + HEAD / 2 + SPREAD, "{len}");
            assert!(places.iter().take(HEAD).copied().eq(0..HEAD), "{len}");
            assert!(places
                .iter()
                .rev()
                .copied()
                .take(HEAD / 2)
                .eq((len - HEAD / 2..len).rev()));
            let gap = places.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(gap.is_some_and(|gap| gap <= len / SPREAD + 1), "{len}");
        }
    }
}
