// SPDX-License-Identifier: GPL-2.0

//! The DMA log against a set of page numbers, and without memory for it.

use mdev_model::dirty_log::{DirtyLog, Leaf, Leaves, Report, MAX_LEAVES};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;

/// A map of leaves with a limit, at which it fails like an allocation; it counts lookups.
#[derive(Debug)]
struct Map {
    leaves: BTreeMap<u64, Leaf>,
    room: usize,
    looks: Rc<Cell<usize>>,
}

impl Map {
    fn look(&self) {
        self.looks.set(self.looks.get() + 1);
    }
}

impl Leaves for Map {
    fn get(&mut self, index: u64) -> Option<&mut Leaf> {
        self.look();
        self.leaves.get_mut(&index)
    }

    fn insert(&mut self, index: u64, leaf: Leaf) -> bool {
        let fits = self.leaves.len() < self.room;
        if fits {
            assert!(self.leaves.insert(index, leaf).is_none());
        }
        fits
    }

    fn first_from(&self, index: u64) -> Option<u64> {
        self.look();
        self.leaves.range(index..).next().map(|(index, _)| *index)
    }

    fn remove(&mut self, index: u64) {
        self.look();
        assert!(self.leaves.remove(&index).is_some());
    }

    fn clear(&mut self) {
        self.leaves.clear();
    }
}

type Log = DirtyLog<Map>;

fn stopped_with(room: usize, looks: &Rc<Cell<usize>>) -> Log {
    DirtyLog::new(Map {
        leaves: BTreeMap::new(),
        room,
        looks: looks.clone(),
    })
}

fn stopped_with_room(room: usize) -> Log {
    stopped_with(room, &Rc::default())
}

fn started() -> Log {
    let mut log = stopped_with_room(usize::MAX);
    assert!(log.start());
    log
}

/// Returns a whole report of `pages`, made as in the kernel; `None` if everything is dirty.
fn report(
    log: &mut Log,
    pages: RangeInclusive<u64>,
    held: &[RangeInclusive<u64>],
) -> Option<Vec<u64>> {
    log.begin_report(&pages, held.iter().cloned());
    let mut found = Vec::new();
    let mut from = *pages.start();
    loop {
        match log.take(&(from..=*pages.end())) {
            Report::Clean => return Some(found),
            Report::Everything => return None,
            Report::Stopped => panic!("the log is stopped"),
            Report::Dirty(dirty) => {
                found.extend(dirty.runs().flatten());
                if dirty.last() >= *pages.end() {
                    return Some(found);
                }
                from = dirty.last() + 1;
            }
        }
    }
}

const LAST: u64 = u64::MAX >> 12;
const ALL: RangeInclusive<u64> = 0..=LAST;

#[test]
fn a_log_is_started_once_and_stopped_as_often_as_one_likes() {
    let mut log = stopped_with_room(1);
    assert_eq!(log.take(&ALL), Report::Stopped);
    log.stop();
    assert!(log.start());
    assert!(!log.start());
    log.stop();
    assert!(log.start());
}

#[test]
fn what_was_written_before_the_start_or_before_a_stop_is_not_reported() {
    let mut log = stopped_with_room(usize::MAX);
    log.mark(&(1..=1));
    assert!(log.start());
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
    log.mark(&(2..=2));
    log.stop();
    assert!(log.start());
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
}

#[test]
fn a_page_is_reported_once_for_any_number_of_writes() {
    let mut log = started();
    log.mark(&(7..=7));
    log.mark(&(6..=8));
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), [6, 7, 8]);
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
}

#[test]
fn a_report_clears_the_pages_it_speaks_of_and_no_others() {
    let mut log = started();
    log.mark(&(10..=20));
    assert_eq!(report(&mut log, 12..=13, &[]).unwrap(), [12, 13]);
    assert_eq!(report(&mut log, 0..=11, &[]).unwrap(), [10, 11]);
    assert_eq!(
        report(&mut log, 14..=LAST, &[]).unwrap(),
        [14, 15, 16, 17, 18, 19, 20]
    );
}

#[test]
fn a_run_goes_over_the_borders_of_words_and_leaves() {
    let mut log = started();
    let pages = Leaf::PAGES - 70..=2 * Leaf::PAGES + 70;
    log.mark(&pages);
    assert_eq!(
        report(&mut log, ALL, &[]).unwrap(),
        pages.collect::<Vec<_>>()
    );
}

#[test]
fn the_last_page_of_all_is_a_page() {
    let mut log = started();
    log.mark(&(LAST..=LAST));
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), [LAST]);
}

#[test]
fn a_held_page_is_dirty_in_every_report_and_once_more_after_it_was_let_go() {
    let mut log = started();
    let held = [4..=5];
    log.mark(&(3..=5));
    assert_eq!(report(&mut log, ALL, &held).unwrap(), [3, 4, 5]);
    assert_eq!(report(&mut log, ALL, &held).unwrap(), [4, 5]);
    // Whoever lets go marks: the last write may be younger than the last report.
    log.mark(&(4..=5));
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), [4, 5]);
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
}

#[test]
fn a_report_marks_of_what_is_held_only_what_it_is_asked_for() {
    let mut log = started();
    let held = [4..=9];
    assert_eq!(report(&mut log, 0..=6, &held).unwrap(), [4, 5, 6]);
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
    log.mark(&(4..=9));
    assert_eq!(report(&mut log, 0..=6, &held).unwrap(), [4, 5, 6]);
    assert_eq!(report(&mut log, 7..=LAST, &[]).unwrap(), [7, 8, 9]);
}

#[test]
fn a_report_costs_by_what_is_dirty_and_not_by_the_size_of_memory() {
    let cost = |memory: RangeInclusive<u64>, dirty: u64| {
        let looks = Rc::default();
        let mut log = stopped_with(usize::MAX, &looks);
        assert!(log.start());
        let spread = (memory.end() + 1) / dirty.max(1);
        (0..dirty).for_each(|n| log.mark(&(n * spread..=n * spread)));
        looks.set(0);
        assert_eq!(report(&mut log, memory, &[]).unwrap().len() as u64, dirty);
        looks.get()
    };
    let gib = 1 << 18;
    for memory in [gib, 1024 * gib, LAST + 1] {
        let memory = 0..=memory - 1;
        assert_eq!(cost(memory.clone(), 0), 1);
        // To find a leaf, take its pages and remove it; and to find that no other follows, unless
        // the last one is the last of memory.
        assert!((3 * 64..=3 * 64 + 1).contains(&cost(memory, 64)));
    }
}

#[test]
fn without_memory_everything_is_dirty_until_the_log_is_stopped() {
    let mut log = stopped_with_room(1);
    assert!(log.start());
    log.mark(&(1..=1));
    log.mark(&(Leaf::PAGES..=Leaf::PAGES));
    assert_eq!(report(&mut log, 0..=0, &[]), None);
    assert_eq!(report(&mut log, 0..=0, &[]), None);
    log.mark(&(0..=0));
    log.stop();
    assert!(log.start());
    assert_eq!(report(&mut log, ALL, &[]).unwrap(), []);
}

#[test]
fn the_number_of_leaves_is_bounded_and_reported_ones_make_room() {
    let mut log = started();
    for index in 0..MAX_LEAVES as u64 {
        log.mark(&(index * Leaf::PAGES..=index * Leaf::PAGES));
    }
    assert_eq!(report(&mut log, 0..=0, &[]).unwrap(), [0]);
    log.mark(&(LAST..=LAST));
    assert_eq!(report(&mut log, LAST..=LAST, &[]).unwrap(), [LAST]);
    log.mark(&(0..=0));
    log.mark(&(LAST..=LAST));
    assert_eq!(report(&mut log, 0..=0, &[]), None);
}

#[derive(Debug, Clone)]
enum Event {
    Mark(RangeInclusive<u64>),
    Report(RangeInclusive<u64>),
    Hold(RangeInclusive<u64>),
    Release(prop::sample::Index),
}

fn pages() -> impl Strategy<Value = RangeInclusive<u64>> {
    // Near the borders of a few leaves.
    let first = (0..4 * Leaf::PAGES)
        .prop_union(Leaf::PAGES - 3..Leaf::PAGES + 3)
        .boxed();
    let count = (1..4_u64).prop_union(1..2 * Leaf::PAGES);
    (first, count).prop_map(|(first, count)| first..=first + count - 1)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => pages().prop_map(Event::Mark),
        3 => pages().prop_map(Event::Report),
        1 => pages().prop_map(Event::Hold),
        1 => any::<prop::sample::Index>().prop_map(Event::Release),
    ]
}

proptest! {
    #[test]
    fn reports_are_those_of_a_set_of_numbers(events in prop::collection::vec(event(), 1..60)) {
        let mut log = started();
        let mut dirty = BTreeSet::new();
        let mut held: Vec<RangeInclusive<u64>> = Vec::new();
        for event in events {
            match event {
                Event::Mark(pages) => {
                    log.mark(&pages);
                    dirty.extend(pages);
                }
                Event::Hold(pages) => {
                    log.mark(&pages);
                    dirty.extend(pages.clone());
                    held.push(pages);
                }
                Event::Release(which) if !held.is_empty() => {
                    let pages = held.swap_remove(which.index(held.len()));
                    log.mark(&pages);
                    dirty.extend(pages);
                }
                Event::Release(_) => {}
                Event::Report(pages) => {
                    let mut expected = dirty.clone();
                    expected.extend(held.iter().cloned().flatten());
                    expected.retain(|page| pages.contains(page));
                    let found = report(&mut log, pages, &held).unwrap();
                    prop_assert_eq!(BTreeSet::from_iter(found), expected.clone());
                    dirty.retain(|page| !expected.contains(page));
                }
            }
        }
        prop_assert_eq!(report(&mut log, ALL, &[]).unwrap(), Vec::from_iter(dirty));
    }
}
