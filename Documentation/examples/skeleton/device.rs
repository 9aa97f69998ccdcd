// SPDX-License-Identifier: GPL-2.0

//! The device: what it is, what its registers do, and how it works.
//!
//! It adds up the numbers from 1 to what a guest writes to LAST, some thousand in a step. When it
//! has finished it asserts its interrupt, until the guest clears the event. It migrates at any
//! moment, because a step begins and ends with nothing but the state below.
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x00 | ID | read-only |
//! | 0x04 | LAST | a write starts a sum, up to 2,097,152; ignored while one is under way |
//! | 0x08 | STATUS | 1 while a sum is under way |
//! | 0x0c | EVENTS | 1 when a sum has ended; write 1 to clear it |
//! | 0x10 | SUM | 64 bits |

use mdev_model::prelude::*;

/// Numbers that are added in a step. A step must be short: whoever stops the device waits for it.
const BATCH: u32 = 4096;
/// The largest LAST. Bound what a guest can ask for: a device must come to rest.
const LAST_MAX: u32 = 1 << 21;
const ID: u32 = 0x0001_1af4;
/// The only bit of EVENTS.
const DONE: u32 = 1;

record! {
    /// The state. All of it migrates, as it is written here: fields in this order, little endian,
    /// without padding. After power-on and reset it is zero.
    ///
    /// Who adds a field later raises the version of FORMAT below, and lists this struct in OLDER.
    pub struct Skeleton {
        last: u32,
        /// The number that is added next; 0 if no sum is under way.
        next: u32,
        events: u32,
        sum: u64,
    }
}

impl Record for Skeleton {
    // What a stream brings is not to be trusted. Refuse what no device can have come to.
    fn check(&self) -> Result<(), &'static str> {
        let is_within = self.next <= self.last && self.last <= LAST_MAX;
        require(is_within, "a sum beyond its end")?;
        require(self.events & !DONE == 0, "unknown events")
    }
}

impl DeviceModel for Skeleton {
    // What a guest's driver looks for. Take ids that are yours.
    const IDENTITY: Identity = Identity {
        bars: Bar::Io { size: 32 }.alone(),
        ..Identity::new(0x1af4, 0x10f0)
    };
    // Source and destination must have this in common.
    const FORMAT: Format = Format::first("skeleton");
    // In BAR 0, in the order of their offsets.
    const REGISTERS: &'static [Register<Self>] = registers! { Skeleton {
        0x00: u32, read |_| ID;
        0x04: u32, read |device| device.last, write Skeleton::start, if Skeleton::is_idle;
        0x08: u32, read |device| u32::from(!device.is_idle());
        0x0c: u32, read |device| device.events, write |device, bits| device.events &= !bits;
        0x10: u64, read |device| device.sum;
    } };

    // The level of the interrupt line follows from the state alone.
    fn interrupt(&self) -> bool {
        self.events != 0
    }

    // Called after a write to a register, and again until it returns Idle. Work::Read and
    // Work::Write transfer between the device and guest memory.
    fn step(&mut self) -> Work<'_> {
        if self.is_idle() {
            return Work::Idle;
        }
        let end = self.last.min(self.next.saturating_add(BATCH - 1));
        self.sum =
            (self.next..=end).fold(self.sum, |sum, number| sum.wrapping_add(u64::from(number)));
        if end == self.last {
            self.next = 0;
            self.events |= DONE;
        } else {
            self.next = end + 1;
        }
        Work::More
    }
}

impl Skeleton {
    fn is_idle(&self) -> bool {
        self.next == 0
    }

    fn start(&mut self, last: u32) {
        if last > LAST_MAX {
            return;
        }
        (self.last, self.next, self.sum) = (last, last.min(1), 0);
        if last == 0 {
            self.events |= DONE;
        }
    }
}
