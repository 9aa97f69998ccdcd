// SPDX-License-Identifier: GPL-2.0

//! States that older drivers have saved.

use super::Record;
use crate::stream::{Format, LoadError};

/// The state as version `version` of a format has saved it, for a device whose state is now `S`.
///
/// # Examples
///
/// A timer whose version 1 had no step:
///
/// ```
/// use mdev_model::prelude::*;
///
/// record! {
///     pub struct Timer {
///         left: u32,
///         step: u32,
///     }
/// }
///
/// impl Record for Timer {
///     fn check(&self) -> Result<(), &'static str> {
///         require(self.step != 0, "no step")
///     }
/// }
///
/// record! {
///     struct TimerV1 {
///         left: u32,
///     }
/// }
///
/// impl Record for TimerV1 {
///     fn check(&self) -> Result<(), &'static str> {
///         Ok(())
///     }
/// }
///
/// impl From<TimerV1> for Timer {
///     fn from(old: TimerV1) -> Self {
///         Timer { left: old.left, step: 1 }
///     }
/// }
///
/// const FORMAT: Format = Format {
///     version: 2,
///     readable_by: 2,
///     ..Format::first("timer")
/// };
/// const OLDER: &[Older<Timer>] = &[Older::of::<TimerV1>(1)];
///
/// assert_eq!(OLDER[0].load(&[7, 0, 0, 0]), Ok(Timer { left: 7, step: 1 }));
/// assert!(OLDER[0].load(&[7, 0, 0, 0, 1, 0, 0, 0]).is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Older<S> {
    version: u16,
    len: usize,
    load: fn(&[u8]) -> Result<S, LoadError>,
}

impl<S: Record> Older<S> {
    /// Creates version `version`, which has saved a record `R`. A state is made of it by
    /// [`From`], and checked as if it had been saved itself.
    pub const fn of<R: Record + Into<S>>(version: u16) -> Self {
        fn load<R: Record + Into<S>, S: Record>(bytes: &[u8]) -> Result<S, LoadError> {
            let state = R::decode(bytes)?.into();
            state.check().map_err(LoadError::BadState)?;
            Ok(state)
        }
        Older {
            version,
            len: R::LEN,
            load: load::<R, S>,
        }
    }

    /// Returns the version.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// Returns the size in bytes of its record.
    #[expect(clippy::len_without_is_empty, reason = "a record has bytes")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns the state of a record of this version.
    ///
    /// # Errors
    ///
    /// As for [`Record::decode`].
    pub fn load(&self, bytes: &[u8]) -> Result<S, LoadError> {
        (self.load)(bytes)
    }
}

/// Returns whether `older` has each version that a driver of `format` reads besides its own, from
/// the oldest on, and no other; and `format` does not promise that older drivers read what it
/// saves, which has a tag that they do not know.
pub const fn is_complete<S: Record>(older: &[Older<S>], format: &Format) -> bool {
    let mut index = 0;
    while index < older.len() {
        if older[index].version as usize != format.oldest as usize + index {
            return false;
        }
        index += 1;
    }
    format.oldest as usize + older.len() == format.version as usize
        && format.readable_by == format.version
}
