// SPDX-License-Identifier: GPL-2.0

//! A device's DMA log: which pages of guest memory it has written since they were last reported.
//!
//! Pages are numbers: an IOVA divided by the size of a page. They are kept as bits in [`Leaf`]s of
//! [`Leaf::PAGES`] pages; a leaf without a bit does not exist. So a report takes time in the pages
//! that are dirty, and memory is a bit a page where the dirty ones lie together. It is bounded by
//! [`MAX_LEAVES`]; a log that would outgrow it, or for which there is no memory, calls everything
//! dirty until it is stopped: it may say too much, but never too little.
//!
//! Source: `VFIO_DEVICE_FEATURE_DMA_LOGGING_START` and its neighbours in
//! `include/uapi/linux/vfio.h`.

use core::ops::RangeInclusive;

const WORD: usize = u64::BITS as usize;
const WORDS: usize = 64;

/// How many leaves a log has at most: they hold every page of 1 TiB, and take some 36 MiB.
pub const MAX_LEAVES: usize = 1 << 16;

/// The dirty pages among [`PAGES`](Self::PAGES) neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// A bit for each word that is not zero.
    occupied: u64,
    words: [u64; WORDS],
}

impl Leaf {
    /// How many pages a leaf is for; the first one's number is a multiple of it.
    pub const PAGES: u64 = (WORD * WORDS) as u64;

    /// A leaf of clean pages.
    pub const EMPTY: Leaf = Leaf {
        occupied: 0,
        words: [0; WORDS],
    };

    fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Calls `each` with the words that `bits` touch, and the mask of those bits in the word.
    fn for_words(
        &mut self,
        bits: &RangeInclusive<usize>,
        mut each: impl FnMut(usize, &mut u64, u64),
    ) {
        let (first, last) = (*bits.start(), *bits.end());
        for index in first / WORD..=last / WORD {
            let low = first.saturating_sub(index * WORD);
            let high = (last - index * WORD).min(WORD - 1);
            let mask = (u64::MAX << low) & (u64::MAX >> (WORD - 1 - high));
            let word = &mut self.words[index];
            each(index, word, mask);
            let occupied = u64::from(*word != 0) << index;
            self.occupied = self.occupied & !(1 << index) | occupied;
        }
    }

    fn mark(&mut self, bits: &RangeInclusive<usize>) {
        self.for_words(bits, |_, word, mask| *word |= mask);
    }

    /// Moves `bits` into a leaf of their own.
    fn take(&mut self, bits: &RangeInclusive<usize>) -> Leaf {
        let mut taken = Leaf::EMPTY;
        let Leaf { occupied, words } = &mut taken;
        self.for_words(bits, |index, word, mask| {
            words[index] = *word & mask;
            *occupied |= u64::from(words[index] != 0) << index;
            *word &= !mask;
        });
        taken
    }

    /// The first dirty page from `bit` on.
    fn next_dirty(&self, bit: usize) -> Option<usize> {
        let index = bit / WORD;
        let rest = self.words.get(index)? & (u64::MAX << (bit % WORD));
        if rest != 0 {
            return Some(index * WORD + rest.trailing_zeros() as usize);
        }
        let behind = self.occupied & u64::MAX.checked_shl(index as u32 + 1).unwrap_or(0);
        let index = behind.trailing_zeros() as usize;
        let word = self.words.get(index)?;
        Some(index * WORD + word.trailing_zeros() as usize)
    }

    /// The first clean page behind the dirty page `bit`.
    fn next_clean(&self, bit: usize) -> usize {
        let mut from = bit;
        while let Some(word) = self.words.get(from / WORD) {
            let clean = !word & (u64::MAX << (from % WORD));
            from -= from % WORD;
            if clean != 0 {
                return from + clean.trailing_zeros() as usize;
            }
            from += WORD;
        }
        from
    }
}

/// Where a log keeps its leaves: an ordered map from a leaf's index, which is the number of its
/// first page divided by [`Leaf::PAGES`].
pub trait Leaves {
    /// The leaf at `index`.
    fn get(&mut self, index: u64) -> Option<&mut Leaf>;
    /// Puts `leaf` at `index`, where there is none. False if there is no memory for it.
    fn insert(&mut self, index: u64, leaf: Leaf) -> bool;
    /// The index of the first leaf from `index` on.
    fn first_from(&self, index: u64) -> Option<u64>;
    /// Removes the leaf at `index`.
    fn remove(&mut self, index: u64);
    /// Removes all leaves.
    fn clear(&mut self);
}

/// Dirty pages that were taken out of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Dirty {
    index: u64,
    leaf: Leaf,
}

impl Dirty {
    /// Returns the dirty pages, as runs in ascending order.
    pub fn runs(&self) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        let base = self.index * Leaf::PAGES;
        let mut bit = 0;
        core::iter::from_fn(move || {
            let first = self.leaf.next_dirty(bit)?;
            bit = self.leaf.next_clean(first);
            Some(base + first as u64..=base + bit as u64 - 1)
        })
    }

    /// Returns the last page that this report covers; the next report begins after it.
    pub fn last(&self) -> u64 {
        self.index * Leaf::PAGES + (Leaf::PAGES - 1)
    }
}

/// The answer of a log to [`DirtyLog::take`].
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nothing is allocated here, and one report exists at a time"
)]
pub enum Report {
    /// There are none.
    Clean,
    /// These; there may be more behind [`Dirty::last`].
    Dirty(Dirty),
    /// The log is incomplete: every page counts as dirty.
    Everything,
    /// The log was not started.
    Stopped,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Started,
    Incomplete,
}

/// The DMA log of an open device.
#[derive(Debug)]
pub struct DirtyLog<L> {
    leaves: L,
    count: usize,
    state: State,
}

impl<L: Leaves> DirtyLog<L> {
    /// Creates a log that is stopped, in `leaves`, which must be empty.
    pub const fn new(leaves: L) -> Self {
        Self {
            leaves,
            count: 0,
            state: State::Stopped,
        }
    }

    /// Starts the log, with nothing dirty. False if it was started before and not stopped.
    #[must_use]
    pub fn start(&mut self) -> bool {
        let stopped = self.state == State::Stopped;
        if stopped {
            self.state = State::Started;
        }
        stopped
    }

    /// Stops the log, if it was started, and forgets what is dirty.
    pub fn stop(&mut self) {
        self.state = State::Stopped;
        self.forget();
    }

    /// Marks `pages`, which the device has written; does nothing while the log is stopped.
    pub fn mark(&mut self, pages: &RangeInclusive<u64>) {
        if self.state != State::Started {
            return;
        }
        let (first, last) = (*pages.start(), *pages.end());
        for index in first / Leaf::PAGES..=last / Leaf::PAGES {
            let bits = bits_of(index, pages);
            if let Some(leaf) = self.leaves.get(index) {
                leaf.mark(&bits);
                continue;
            }
            let mut leaf = Leaf::EMPTY;
            leaf.mark(&bits);
            if self.count == MAX_LEAVES || !self.leaves.insert(index, leaf) {
                self.state = State::Incomplete;
                self.forget();
                return;
            }
            self.count += 1;
        }
    }

    /// Begins a report of `pages`: marks those of them that are in `held`, to which the device goes
    /// on writing.
    pub fn begin_report(
        &mut self,
        pages: &RangeInclusive<u64>,
        held: impl Iterator<Item = RangeInclusive<u64>>,
    ) {
        for held in held {
            let first = *held.start().max(pages.start());
            let last = *held.end().min(pages.end());
            if first <= last {
                self.mark(&(first..=last));
            }
        }
    }

    /// Takes the first dirty pages among `pages`, those of one leaf. They are clean from now on.
    pub fn take(&mut self, pages: &RangeInclusive<u64>) -> Report {
        match self.state {
            State::Stopped => return Report::Stopped,
            State::Incomplete => return Report::Everything,
            State::Started => {}
        }
        let last = *pages.end() / Leaf::PAGES;
        let mut from = *pages.start() / Leaf::PAGES;
        // Only the first leaf and the last one can have dirty pages without one in `pages`.
        while let Some(index) = self.leaves.first_from(from).filter(|&index| index <= last) {
            let Some(leaf) = self.leaves.get(index) else {
                break;
            };
            let taken = leaf.take(&bits_of(index, pages));
            if leaf.is_empty() {
                self.leaves.remove(index);
                self.count -= 1;
            }
            if !taken.is_empty() {
                return Report::Dirty(Dirty { index, leaf: taken });
            }
            from = index + 1;
        }
        Report::Clean
    }

    fn forget(&mut self) {
        self.leaves.clear();
        self.count = 0;
    }
}

/// The bits of leaf `index` that stand for `pages`, of which at least one is in it.
fn bits_of(index: u64, pages: &RangeInclusive<u64>) -> RangeInclusive<usize> {
    let base = index * Leaf::PAGES;
    let first = pages.start().saturating_sub(base);
    let last = (pages.end() - base).min(Leaf::PAGES - 1);
    first as usize..=last as usize
}
