// SPDX-License-Identifier: GPL-2.0

//! A set of pages that any thread may add to while another one takes from it.
//!
//! The words that hold it are somebody else's: atomics of the kernel's memory model there, cells in
//! a test. What is decided here is which bit of which word a page is, and in what order two sets
//! are read.

use core::ops::Range;

/// Number of pages in a word.
pub const PAGES_OF_A_WORD: usize = u64::BITS as usize;

/// The words of a set.
pub trait Words {
    /// Returns how many there are.
    fn count(&self) -> usize;

    /// Returns word `index`, which is below [`count`](Self::count). What was written before the
    /// word was given its bits is seen after this.
    fn load(&self, index: usize) -> u64;

    /// Replaces word `index` by `change` of it, in one step for everybody else, and returns what it
    /// was. Orders all accesses to memory before it before all after it.
    fn update(&self, index: usize, change: impl Fn(u64) -> u64) -> u64;
}

/// A set of pages by number.
#[derive(Debug)]
pub struct PageSet<W>(W);

/// Returns how many words a set of the pages below `pages` takes.
pub const fn words(pages: usize) -> usize {
    pages.div_ceil(PAGES_OF_A_WORD)
}

impl<W: Words> PageSet<W> {
    /// Makes a set of the pages whose bits are set in `words`.
    pub const fn new(words: W) -> Self {
        PageSet(words)
    }

    /// Adds `page`; one beyond the words is left out.
    pub fn add(&self, page: usize) {
        let (index, bit) = place(page);
        if index < self.0.count() {
            self.0.update(index, |word| word | bit);
        }
    }

    /// Takes `page` out, and returns whether it was in.
    pub fn take(&self, page: usize) -> bool {
        let (index, bit) = place(page);
        index < self.0.count() && self.0.update(index, |word| word & !bit) & bit != 0
    }

    /// Returns how many pages of the set are not below `from`.
    pub fn len_from(&self, from: usize) -> usize {
        self.words_from(from)
            .map(|(_, word)| word.count_ones() as usize)
            .sum()
    }

    /// Returns the first page of the set that is not below `from`.
    pub fn next(&self, from: usize) -> Option<usize> {
        self.words_from(from)
            .find(|(_, word)| *word != 0)
            .map(|(index, word)| index * PAGES_OF_A_WORD + word.trailing_zeros() as usize)
    }

    /// Takes the next run of at most `most` pages that is not below `from`, page by page by `take`,
    /// which says whether it got the page: another thread may be faster. `None` once there is no
    /// page.
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

    /// Replaces the contents with `other`, which has as many words.
    ///
    /// A page that another thread adds meanwhile, first to `other` and then to `self`, is kept.
    pub fn become_all_of(&self, other: &Self) {
        for index in 0..self.0.count().min(other.0.count()) {
            let known = other.0.load(index);
            self.0.update(index, |word| word & known);
            // Read again: a page that was added to both between the two is in there.
            let known = other.0.load(index);
            self.0.update(index, |word| word | known);
        }
    }

    /// Returns the words from that of page `from` on, with their indices; without the bits below
    /// it.
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
