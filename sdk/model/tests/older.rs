// SPDX-License-Identifier: GPL-2.0

//! States that older drivers have saved: which versions a driver must list, and what it loads.

use mdev_model::{
    prelude::*,
    record::{is_complete, Older},
    stream::LoadError,
    testing::Machine,
};

mdev_model::record! {
    struct Timer {
        left: u32,
        step: u32,
    }
}

impl Record for Timer {
    fn check(&self) -> Result<(), &'static str> {
        require(
            self.left % self.step.max(1) == 0,
            "time that is no number of steps",
        )
    }
}

mdev_model::record! {
    struct TimerV2 {
        step: u16,
        left: u32,
    }
}

impl Record for TimerV2 {
    fn check(&self) -> Result<(), &'static str> {
        require(self.step != 7, "a step that version 2 had not")
    }
}

impl From<TimerV2> for Timer {
    fn from(old: TimerV2) -> Self {
        Timer {
            left: old.left,
            step: old.step.into(),
        }
    }
}

mdev_model::record! {
    struct TimerV1 {
        left: u32,
    }
}

impl Record for TimerV1 {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl From<TimerV1> for Timer {
    fn from(old: TimerV1) -> Self {
        Timer {
            left: old.left,
            step: 1,
        }
    }
}

const V1: Older<Timer> = Older::of::<TimerV1>(1);
const V2: Older<Timer> = Older::of::<TimerV2>(2);

impl DeviceModel for Timer {
    const IDENTITY: Identity = Identity {
        bars: Bar::memory32(4096).alone(),
        ..Identity::new(0x1234, 0x0001)
    };
    const FORMAT: Format = format(3, 1);
    const OLDER: &'static [Older<Self>] = &[V1, V2];
    const REGISTERS: &'static [Register<Self>] = registers! { Timer {
        0x00: u32, read |timer| timer.left;
        0x04: u32, read |timer| timer.step;
    } };
}

const fn format(version: u16, oldest: u16) -> Format {
    Format {
        version,
        oldest,
        readable_by: version,
        ..Format::first("timer")
    }
}

#[test]
fn each_version_has_its_own_layout() {
    let mut machine = Machine::<Timer>::new(0);
    for (version, bytes, state) in [
        (1, &[6, 0, 0, 0][..], [6, 1]),
        (2, &[3, 0, 6, 0, 0, 0], [6, 3]),
        (3, &[6, 0, 0, 0, 2, 0, 0, 0], [6, 2]),
    ] {
        assert_eq!(machine.load(version, bytes), Ok(()));
        let found = [0, 4].map(|register| machine.read::<u32>(register));
        assert_eq!(found, state, "version {version}");
    }
}

#[test]
fn a_state_is_refused_by_its_own_rules_and_by_those_of_today() {
    for (older, bytes, reason) in [
        (V1, &[6, 0, 0][..], "a record of another length"),
        (V2, &[7, 0, 7, 0, 0, 0], "a step that version 2 had not"),
        (V2, &[4, 0, 6, 0, 0, 0], "time that is no number of steps"),
    ] {
        assert_eq!(older.load(bytes), Err(LoadError::BadState(reason)));
    }
}

#[test]
fn every_version_from_the_oldest_on_is_listed_in_order() {
    for (older, format, complete) in [
        (&[][..], format(1, 1), true),
        (&[], format(3, 3), true),
        (&[V1], format(2, 1), true),
        (&[V1, V2], format(3, 1), true),
        (&[V2], format(3, 2), true),
        // One is missing: the oldest, the last, or one that is not read is there.
        (&[V2], format(3, 1), false),
        (&[V1], format(3, 1), false),
        (&[V1, V2], format(3, 2), false),
        (&[V2, V1], format(3, 1), false),
        (&[V1, V1], format(3, 1), false),
        (&[], format(2, 1), false),
    ] {
        let found = is_complete(older, &format);
        assert_eq!(found, complete, "{} versions, {format:?}", older.len());
    }
}

#[test]
fn a_format_that_older_drivers_would_read_is_not_complete() {
    let format = Format {
        readable_by: 1,
        ..format(2, 1)
    };
    assert!(!is_complete(&[V1], &format));
}
