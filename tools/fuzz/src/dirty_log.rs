// SPDX-License-Identifier: GPL-2.0
//! The DMA log, with too little memory at times: it may say too much, and never too little.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use arbitrary::Arbitrary;
use mdev_model::dirty_log::{DirtyLog, Leaf, Leaves, Report};

use crate::input;

/// The number of the last page of an address space.
const LAST: u64 = u64::MAX >> 12;
/// The most pages that an operation names.
const MOST: u64 = 3 * Leaf::PAGES;

#[derive(Arbitrary, Debug)]
struct Input {
    /// The most leaves for which there is memory.
    room: u8,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Start,
    Stop,
    Mark(Pages),
    /// A report of pages, to some of which the device goes on writing.
    Report(Pages, Option<Pages>),
    /// A report of everything.
    ReportAll,
}

#[derive(Arbitrary, Debug)]
struct Pages {
    at: At,
    len: u16,
}

#[derive(Arbitrary, Debug)]
enum At {
    Low(u16),
    End(u16),
    Any(u64),
}

impl Pages {
    fn range(&self) -> RangeInclusive<u64> {
        let first = match self.at {
            At::Low(page) => page.into(),
            At::End(before) => LAST - u64::from(before),
            At::Any(page) => page & LAST,
        };
        first..=first.saturating_add(u64::from(self.len) % MOST).min(LAST)
    }
}

/// A map with room for so many leaves.
struct Map {
    leaves: BTreeMap<u64, Leaf>,
    room: usize,
}

impl Leaves for Map {
    fn get(&mut self, index: u64) -> Option<&mut Leaf> {
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
        self.leaves.range(index..).next().map(|(index, _)| *index)
    }

    fn remove(&mut self, index: u64) {
        assert!(self.leaves.remove(&index).is_some());
    }

    fn clear(&mut self) {
        self.leaves.clear();
    }
}

/// The log, and what it must know: `None` while it is stopped.
struct Rig {
    log: DirtyLog<Map>,
    dirty: Option<BTreeSet<u64>>,
}

/// A report has each page that was written since the last one, and no other unless all count as
/// dirty.
pub fn run(data: &[u8]) {
    let Some(input) = input::of::<Input>(data) else {
        return;
    };
    let mut rig = Rig {
        log: DirtyLog::new(Map {
            leaves: BTreeMap::new(),
            room: input.room.into(),
        }),
        dirty: None,
    };
    for op in input.ops {
        match op {
            Op::Start => {
                assert_eq!(rig.log.start(), rig.dirty.is_none());
                rig.dirty.get_or_insert_default();
            }
            Op::Stop => {
                rig.log.stop();
                rig.dirty = None;
            }
            Op::Mark(pages) => {
                rig.log.mark(&pages.range());
                rig.written(&pages.range());
            }
            Op::Report(pages, held) => rig.report(pages.range(), held.map(|held| held.range())),
            Op::ReportAll => rig.report(0..=LAST, None),
        }
    }
}

impl Rig {
    fn written(&mut self, pages: &RangeInclusive<u64>) {
        if let Some(dirty) = &mut self.dirty {
            dirty.extend(pages.clone());
        }
    }

    fn report(&mut self, pages: RangeInclusive<u64>, held: Option<RangeInclusive<u64>>) {
        self.log.begin_report(&pages, held.iter().cloned());
        if let Some(held) = held {
            let both = *held.start().max(pages.start())..=*held.end().min(pages.end());
            self.written(&both);
        }
        let mut found = BTreeSet::new();
        let mut from = *pages.start();
        loop {
            let report = self.log.take(&(from..=*pages.end()));
            let Some(dirty) = &mut self.dirty else {
                assert_eq!(report, Report::Stopped);
                return;
            };
            match report {
                Report::Stopped => panic!("the log was started"),
                Report::Everything => return,
                Report::Clean => break,
                Report::Dirty(taken) => {
                    found.extend(taken.runs().flatten());
                    dirty.retain(|page| !found.contains(page));
                    if taken.last() >= *pages.end() {
                        break;
                    }
                    from = taken.last() + 1;
                }
            }
        }
        let dirty = self.dirty.iter().flatten();
        let missed = dirty.filter(|page| pages.contains(page)).count();
        assert_eq!(missed, 0, "pages that were written and not reported");
        assert!(found.iter().all(|page| pages.contains(page)));
    }
}
