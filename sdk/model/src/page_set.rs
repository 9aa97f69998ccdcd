// SPDX-License-Identifier: GPL-2.0

//! A set of pages that threads may add to while another thread takes from it.
//!
//! The caller provides the words that hold the set: atomics of the kernel's memory model, or cells
//! in a test. This module decides which bit of which word stands for a page, and in which order two
//! sets are read.

use core::ops::Range;

/// Number of pages in a word.
pub const PAGES_OF_A_WORD: usize = u64::BITS as usize;

/// The words that hold a set.
pub trait Words {
    /// Returns the number of words.
    fn count(&self) -> usize;

    /// Returns word `index`, which must be below [`count`](Self::count).
    ///
    /// It is an acquire: what another thread wrote before it set bits of the word is visible after
    /// it.
    fn load(&self, index: usize) -> u64;

    /// Replaces word `index` by `change` of it, atomically, and returns the old value.
    ///
    /// It is fully ordered: against all memory accesses before it and after it.
    fn update(&self, index: usize, change: impl Fn(u64) -> u64) -> u64;
}

/// A set of pages by number.
#[derive(Debug)]
pub struct PageSet<W>(W);

/// Returns the number of words of a set of the pages below `pages`.
pub const fn words(pages: usize) -> usize {
    pages.div_ceil(PAGES_OF_A_WORD)
}

impl<W: Words> PageSet<W> {
    /// Creates the set of the pages whose bits are set in `words`.
    pub const fn new(words: W) -> Self {
        PageSet(words)
    }

    /// Adds `page`, or does nothing if it is beyond the words.
    pub fn add(&self, page: usize) {
        let (index, bit) = place(page);
        if index < self.0.count() {
            self.0.update(index, |word| word | bit);
        }
    }

    /// Removes `page`, and returns whether it was in the set.
    pub fn take(&self, page: usize) -> bool {
        let (index, bit) = place(page);
        index < self.0.count() && self.0.update(index, |word| word & !bit) & bit != 0
    }

    /// Returns the number of pages in the set from `from`.
    pub fn len_from(&self, from: usize) -> usize {
        self.words_from(from)
            .map(|(_, word)| word.count_ones() as usize)
            .sum()
    }

    /// Returns the first page in the set from `from`.
    pub fn next(&self, from: usize) -> Option<usize> {
        self.words_from(from)
            .find(|(_, word)| *word != 0)
            .map(|(index, word)| index * PAGES_OF_A_WORD + word.trailing_zeros() as usize)
    }

    /// Takes the next run of at most `most` pages from `from`, or returns `None` if no page is
    /// left.
    ///
    /// `take` takes a page, and returns whether it got it: another thread may be faster.
    pub fn take_run(
        &self,
        mut from: usize,
        most: usize,
        take: impl Fn(&Self, usize) -> bool,
    ) -> Option<Range<usize>> {
        loop {
            let first = self.next(from)?;
            let mut end = first;
            while end - first < most && take(self, end) {
                end += 1;
            }
            if end > first {
                return Some(first..end);
            }
            from = first + 1;
        }
    }

    /// Replaces the contents with those of `other`, which must have as many words.
    ///
    /// A page that another thread adds meanwhile, first to `other` and then to `self`, is kept.
    pub fn become_all_of(&self, other: &Self) {
        for index in 0..self.0.count().min(other.0.count()) {
            let known = other.0.load(index);
            self.0.update(index, |word| word & known);
            // Read again, for a page that was added to both sets after the first read.
            let known = other.0.load(index);
            self.0.update(index, |word| word | known);
        }
    }

    /// Returns the words from that of `from`, each with its index, without the pages below `from`.
    fn words_from(&self, from: usize) -> impl Iterator<Item = (usize, u64)> + '_ {
        let (first, bit) = place(from);
        (first..self.0.count()).map(move |index| {
            let below = match index == first {
                true => bit - 1,
                false => 0,
            };
            (index, self.0.load(index) & !below)
        })
    }
}

/// Returns the word of `page`, and its bit there.
const fn place(page: usize) -> (usize, u64) {
    (page / PAGES_OF_A_WORD, 1 << (page % PAGES_OF_A_WORD))
}
