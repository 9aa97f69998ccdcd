// SPDX-License-Identifier: GPL-2.0

//! Guest memory that user space is unmapping, and that is not pinned meanwhile.
//!
//! type1 calls `dma_unmap` of each device in the container, one after the other and without a lock, and
//! then looks whether something is pinned in the mapping, which is there until then. It begins anew if
//! so, and calls `BUG()` after ten times. So a device that has let go must not pin at once what a
//! command asks for, or one of several busy devices would always be in the way: a pin waits while any
//! device of the container is being asked, however long that takes its driver, and for a moment longer,
//! because there is no callback for the end of an unmap.
//!
//! Which devices share a container a driver is not told. The devices that one process has open are
//! taken for them; what is wrong with that costs a wait.

use super::table::overlap;
use core::ops::{Deref, RangeInclusive};
use kernel::{
    mm::Mm,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        global_lock, Arc, Mutex,
    },
    time::{Delta, Instant, Monotonic},
};

/// For how long memory that was asked for is not pinned again: long between two devices that are asked
/// one after the other, and short for a guest, which has no use for memory that it takes away.
pub(super) const PAUSE: Delta = Delta::from_millis(10);

/// How many unmaps at different places are told from each other.
const PLACES: usize = 4;

/// A range that devices are or were asked for.
struct Leaving {
    iovas: RangeInclusive<u64>,
    /// How many devices are being asked now.
    asked: usize,
    /// When the last one was through with it.
    since: Instant<Monotonic>,
}

impl Leaving {
    fn is_over(&self) -> bool {
        self.asked == 0 && self.since.elapsed() >= PAUSE
    }
}

/// The memory that one process gives to its devices.
#[pin_data]
pub(super) struct Space {
    /// Whose it is; none for a space of a single device. Kept, so that no other process gets its address.
    owner: Option<ARef<Mm>>,
    /// Whether anything is leaving, to be seen without the lock. It is set before any device is asked.
    busy: Atomic<bool>,
    #[pin]
    leaving: Mutex<[Option<Leaving>; PLACES]>,
}

impl Space {
    fn new(owner: Option<ARef<Mm>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                owner,
                busy: Atomic::new(false),
                leaving <- new_mutex!([const { None }; PLACES], "mdev_leaving"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn is_of(&self, mm: &Mm) -> bool {
        let owner = self.owner.as_deref();
        owner.is_some_and(|owner| core::ptr::eq(owner, mm))
    }

    /// A device is asked for `iovas`, until the result is dropped.
    pub(super) fn unmaps(&self, iovas: &RangeInclusive<u64>) -> Unmapping<'_> {
        let mut leaving = self.leaving.lock();
        self.busy.store(true, Relaxed);
        let same = |place: &Option<Leaving>| place.as_ref().is_some_and(|it| it.iovas == *iovas);
        let free = |place: &Option<Leaving>| place.as_ref().is_none_or(Leaving::is_over);
        let place = leaving.iter().position(same);
        let place = place.or_else(|| leaving.iter().position(free));
        // What has no place of its own widens the last one.
        let place = place.unwrap_or(PLACES - 1);
        let (mut first, mut last, mut asked) = (*iovas.start(), *iovas.end(), 1);
        if let Some(there) = leaving[place].take().filter(|there| !there.is_over()) {
            first = first.min(*there.iovas.start());
            last = last.max(*there.iovas.end());
            asked += there.asked;
        }
        leaving[place] = Some(Leaving {
            iovas: first..=last,
            asked,
            since: Instant::now(),
        });
        Unmapping { space: self, place }
    }

    /// Whether any of `pages` pages from `start` on is leaving.
    #[inline]
    pub(super) fn is_leaving(&self, start: u64, pages: usize) -> bool {
        self.busy.load(Relaxed) && self.is_leaving_still(start, pages)
    }

    #[cold]
    fn is_leaving_still(&self, start: u64, pages: usize) -> bool {
        let mut leaving = self.leaving.lock();
        for place in leaving.iter_mut() {
            *place = place.take().filter(|there| !there.is_over());
        }
        let mut there = leaving.iter().flatten();
        self.busy.store(there.clone().next().is_some(), Relaxed);
        there.any(|there| overlap(start, pages, &there.iovas))
    }
}

/// A device is being asked for memory.
pub(super) struct Unmapping<'a> {
    space: &'a Space,
    place: usize,
}

impl Drop for Unmapping<'_> {
    fn drop(&mut self) {
        // A place is taken as long as anyone is asked for what it has.
        if let Some(there) = &mut self.space.leaving.lock()[self.place] {
            there.asked -= 1;
            there.since = Instant::now();
        }
    }
}

struct Entry {
    space: Arc<Space>,
    devices: usize,
}

global_lock! {
    // SAFETY: `init` initialises it, before the module has a user.
    unsafe(uninit) static SPACES: Mutex<KVec<Entry>> = KVec::new();
}

/// Called once, when the module is loaded.
#[no_mangle]
extern "C" fn mdev_sdk_init() {
    // SAFETY: Called once, by `init.c`, and before anything else of the module.
    unsafe { SPACES.init() };
}

/// An open device's membership in the space of its process.
pub(super) struct Member(Arc<Space>);

impl Member {
    /// The space of the process that runs this.
    pub(super) fn join() -> Result<Self> {
        let task = current!();
        let Some(mm) = task.mm() else {
            return Space::new(None).map(Member);
        };
        let mut spaces = SPACES.lock();
        if let Some(entry) = spaces.iter_mut().find(|entry| entry.space.is_of(mm)) {
            entry.devices += 1;
            return Ok(Member(entry.space.clone()));
        }
        let mm: &Mm = mm;
        let space = Space::new(Some(ARef::from(mm)))?;
        let entry = Entry {
            space: space.clone(),
            devices: 1,
        };
        spaces.push(entry, GFP_KERNEL)?;
        Ok(Member(space))
    }
}

impl Deref for Member {
    type Target = Space;

    fn deref(&self) -> &Space {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut spaces = SPACES.lock();
        let mine = |entry: &Entry| Arc::ptr_eq(&entry.space, &self.0);
        let Some(index) = spaces.iter().position(mine) else {
            return;
        };
        spaces[index].devices -= 1;
        if spaces[index].devices == 0 {
            // The index is in bounds, so this cannot fail.
            let _ = spaces.remove(index);
        }
        if spaces.is_empty() {
            // Nothing is left to be freed when the module goes.
            *spaces = KVec::new();
        }
    }
}
