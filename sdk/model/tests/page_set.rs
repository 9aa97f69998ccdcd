// SPDX-License-Identifier: GPL-2.0

//! A set of pages against a set of numbers, and with a thread that adds while another one reads.

use mdev_model::page_set::{words, PageSet, Words};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

const PAGES: usize = 200;

/// An action, and the number of accesses until it happens.
type Meanwhile = (usize, Box<dyn Fn()>);

/// Words in cells; `meanwhile` does what another thread does between two accesses.
#[derive(Default)]
struct Cells {
    words: Vec<Cell<u64>>,
    meanwhile: RefCell<Option<Meanwhile>>,
}

impl Cells {
    fn new(pages: usize) -> Self {
        Cells {
            words: vec![Cell::new(0); words(pages)],
            ..Cells::default()
        }
    }

    fn access(&self) {
        let due = match &mut *self.meanwhile.borrow_mut() {
            Some((0, _)) => true,
            Some((left, _)) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if due {
            let (_, what) = self.meanwhile.take().unwrap();
            what();
        }
    }
}

impl Words for &Cells {
    fn count(&self) -> usize {
        self.words.len()
    }

    fn load(&self, index: usize) -> u64 {
        self.access();
        self.words[index].get()
    }

    fn update(&self, index: usize, change: impl Fn(u64) -> u64) -> u64 {
        self.access();
        let word = &self.words[index];
        word.replace(change(word.get()))
    }
}

fn contents<W: Words>(set: &PageSet<W>) -> BTreeSet<usize> {
    let mut from = 0;
    std::iter::from_fn(|| {
        let page = set.next(from)?;
        from = page + 1;
        Some(page)
    })
    .collect()
}

proptest! {
    #[test]
    fn it_holds_what_was_added_and_not_taken(
        steps in prop::collection::vec((any::<bool>(), 0..PAGES), 0..300),
        from in 0..PAGES + 100,
    ) {
        let cells = Cells::new(PAGES);
        let set = PageSet::new(&cells);
        let mut oracle = BTreeSet::new();
        for (adds, page) in steps {
            if adds {
                set.add(page);
                oracle.insert(page);
            } else {
                prop_assert_eq!(set.take(page), oracle.remove(&page));
            }
        }
        prop_assert_eq!(contents(&set), oracle.clone());
        prop_assert_eq!(set.next(from), oracle.range(from..).next().copied());
        prop_assert_eq!(set.len_from(from), oracle.range(from..).count());
    }

    #[test]
    fn runs_are_the_pages_in_order_and_no_longer_than_asked(
        pages in prop::collection::btree_set(0..PAGES, 0..PAGES),
        most in 1..70usize,
    ) {
        let cells = Cells::new(PAGES);
        let set = PageSet::new(&cells);
        pages.iter().for_each(|page| set.add(*page));
        let mut taken = Vec::new();
        let mut from = 0;
        while let Some(run) = set.take_run(from, most, |set, page| set.take(page)) {
            prop_assert!(run.len() <= most);
            from = run.end;
            taken.extend(run);
        }
        prop_assert_eq!(taken, pages.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(set.len_from(0), 0);
    }

    #[test]
    fn a_page_that_somebody_adds_while_one_set_becomes_the_other_is_kept(
        used in prop::collection::btree_set(0..PAGES, 0..50),
        dirty in prop::collection::btree_set(0..PAGES, 0..50),
        written in 0..PAGES,
        moment in 0..20usize,
    ) {
        // Both sets are where the other thread can reach them too.
        let (ours, theirs): (&'static Cells, &'static Cells) = (
            Box::leak(Box::new(Cells::new(PAGES))),
            Box::leak(Box::new(Cells::new(PAGES))),
        );
        let (dirty_set, used_set) = (PageSet::new(ours), PageSet::new(theirs));
        used.iter().for_each(|page| used_set.add(*page));
        dirty.iter().for_each(|page| dirty_set.add(*page));
        let add = move || {
            PageSet::new(theirs).add(written);
            PageSet::new(ours).add(written);
        };
        *ours.meanwhile.borrow_mut() = Some((moment, Box::new(add)));
        dirty_set.become_all_of(&used_set);
        let happened = ours.meanwhile.borrow_mut().take().is_none();
        let mut expected = used;
        if happened {
            expected.insert(written);
        }
        prop_assert_eq!(contents(&dirty_set), expected);
    }
}

#[test]
fn a_page_beyond_the_words_is_left_out() {
    let cells = Cells::new(64);
    let set = PageSet::new(&cells);
    set.add(64);
    assert!(!set.take(64));
    assert_eq!(set.next(0), None);
    assert_eq!(set.next(usize::MAX), None);
}

#[test]
fn a_run_goes_on_behind_a_page_that_another_thread_was_faster_to_take() {
    let cells = Cells::new(PAGES);
    let set = PageSet::new(&cells);
    [3, 4, 5].into_iter().for_each(|page| set.add(page));
    let run = set.take_run(0, 8, |set, page| set.take(page) && page != 3);
    assert_eq!(run, Some(4..6));
}
