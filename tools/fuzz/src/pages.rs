// SPDX-License-Identifier: GPL-2.0
//! Sets of pages, spans of guest memory, and the accesses into which a range is cut.

use std::cell::Cell;
use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use mdev_model::page_set::{words, PageSet, Words};
use mdev_model::paging::{pieces, Span};
use mdev_model::region::{access_width, file_offset, split};

use crate::input;

const PAGES: usize = 300;
const PAGE: usize = 4096;

#[derive(Arbitrary, Debug)]
enum Op {
    Add(u16),
    Take(u16),
    TakeRun(u16, u8),
    /// Another set, with these pages, becomes this one's contents.
    Become(Vec<u16>),
    /// A range of guest memory, and an offset and a length in it.
    Span(u64, u32, u32, u16),
    /// A part of a mapping.
    Pieces(u16, u16),
    /// An access of a device file.
    Access(u64, u8, u8),
}

/// Words in cells.
struct Cells(Vec<Cell<u64>>);

impl Words for &Cells {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn load(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    fn update(&self, index: usize, change: impl Fn(u64) -> u64) -> u64 {
        self.0[index].replace(change(self.0[index].get()))
    }
}

fn cells() -> Cells {
    Cells(vec![Cell::new(0); words(PAGES)])
}

/// A set holds what was added and not taken; arithmetic is that of numbers without a limit.
pub fn run(data: &[u8]) {
    let Some(ops) = input::of::<Vec<Op>>(data) else {
        return;
    };
    let own = cells();
    let set = PageSet::new(&own);
    let mut oracle = BTreeSet::new();
    let most = words(PAGES) * 64;
    for op in ops {
        match op {
            Op::Add(page) => {
                set.add(page.into());
                oracle.extend(Some(usize::from(page)).filter(|page| *page < most));
            }
            Op::Take(page) => assert_eq!(set.take(page.into()), oracle.remove(&page.into())),
            Op::TakeRun(from, most) => {
                let most = 1 + usize::from(most);
                let run = set.take_run(from.into(), most, |set, page| set.take(page));
                let first = oracle.range(usize::from(from)..).next().copied();
                assert_eq!(run.clone().map(|run| run.start), first);
                for page in run.clone().into_iter().flatten() {
                    assert!(oracle.remove(&page));
                }
                if let Some(run) = run {
                    assert!(run.len() == most || !oracle.contains(&run.end));
                }
            }
            Op::Become(pages) => {
                let other = cells();
                let other = PageSet::new(&other);
                pages.iter().for_each(|page| other.add((*page).into()));
                set.become_all_of(&other);
                oracle = pages.into_iter().map(usize::from).collect();
                oracle.retain(|page| *page < most);
            }
            Op::Span(address, len, offset, part) => span(address, len, offset, part.into()),
            Op::Pieces(offset, len) => cut(offset.into(), len.into()),
            Op::Access(pos, len, widest) => access(pos, len.into(), 1 << (widest % 4)),
        }
        assert_eq!(set.len_from(0), oracle.len());
        assert_eq!(set.next(0), oracle.first().copied());
    }
}

/// Compares a span's pages with those of 128-bit arithmetic.
fn span(address: u64, len: u32, offset: u32, part: usize) {
    let size = PAGE as u128;
    let (first, end) = (u128::from(address), u128::from(address) + u128::from(len));
    let Some(span) = Span::of(PAGE, address, len as usize) else {
        assert!(len == 0 || end > 1 << 64, "a range that there is");
        return;
    };
    let last_page = (end - 1) / size;
    assert_eq!(u128::from(span.start), first - first % size);
    assert_eq!(span.pages as u128, last_page - first / size + 1);
    assert_eq!(u128::from(span.last(PAGE)), last_page * size + (size - 1));
    let all = span.all_numbers(PAGE);
    assert_eq!(all.clone().count(), span.pages);
    assert!(span.overlaps(PAGE, &(address..=address)));
    let bytes = span.pages * PAGE;
    let offset = offset as usize % bytes;
    let part = (1 + part).min(bytes - offset);
    let numbers = span.numbers(PAGE, offset, part);
    assert!(all.contains(numbers.start()) && all.contains(numbers.end()));
}

fn cut(offset: usize, len: usize) {
    let mut next = 0;
    for piece in pieces(PAGE, offset, len) {
        assert_eq!(piece.bytes.start, next);
        assert_eq!(piece.page * PAGE + piece.offset, offset + next);
        assert!(!piece.bytes.is_empty() && piece.offset + piece.bytes.len() <= PAGE);
        next = piece.bytes.end;
    }
    assert_eq!(next, len);
}

fn access(pos: u64, len: usize, widest: usize) {
    let (index, offset) = split(pos);
    assert_eq!(file_offset(index) + offset, pos);
    let (mut at, mut left) = (offset, len);
    while left > 0 {
        let width = access_width(at, left, widest);
        assert!((1..=widest).contains(&width) && width <= left);
        assert_eq!(at % width as u64, 0, "an access that is not aligned");
        at += width as u64;
        left -= width;
    }
}
