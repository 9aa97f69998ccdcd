// SPDX-License-Identifier: GPL-2.0

//! Files in sysfs that a driver defines for its mdevs.

use kernel::{fmt, prelude::*};

/// The most attributes of a driver.
pub(crate) const MOST: usize = 32;

/// A file of each mdev of the driver `D`, with one value:
/// `/sys/bus/mdev/devices/UUID/DRIVER/NAME`, where DRIVER is [`Driver::NAME`](super::Driver::NAME).
///
/// The functions receive the mdev, whether it is open or not. They may run at the same time as
/// everything else, and may sleep; the removal of the mdev waits for them.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::atomic::{Atomic, Relaxed}};
/// # use mdev_sdk::Attribute;
/// struct Card {
///     weight: Atomic<u32>,
/// }
///
/// // For `Driver::ATTRIBUTES`: `cat .../card/weight`, `echo 3 > .../card/weight`.
/// const ATTRIBUTES: &[Attribute<Card>] = &[Attribute::read_write(
///     c"weight",
///     |card, out| write!(out, "{}", card.weight.load(Relaxed)),
///     |card, text| match text.parse() {
///         Ok(weight @ 1..=100) => {
///             card.weight.store(weight, Relaxed);
///             Ok(())
///         }
///         _ => Err(EINVAL),
///     },
/// )];
/// # fn main() { let _ = ATTRIBUTES; }
/// ```
pub struct Attribute<D> {
    pub(crate) name: &'static CStr,
    pub(crate) show: fn(&D, &mut fmt::Formatter<'_>) -> fmt::Result,
    pub(crate) store: Option<fn(&D, &str) -> Result>,
}

impl<D> Attribute<D> {
    /// Creates a file `name` that everybody can read. `show` writes its value, which the SDK ends
    /// with a newline, and cuts off where a page ends.
    ///
    /// Names must differ: else no mdev can be created.
    pub const fn read_only(
        name: &'static CStr,
        show: fn(&D, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> Self {
        let store = None;
        Attribute { name, show, store }
    }

    /// Creates a file as [`read_only`](Self::read_only) does, but root can write it: `store` takes
    /// what was written, without the newline at its end.
    ///
    /// # Errors
    ///
    /// The writer gets the error of `store`; EINVAL, without a call, for what is not UTF-8.
    pub const fn read_write(
        name: &'static CStr,
        show: fn(&D, &mut fmt::Formatter<'_>) -> fmt::Result,
        store: fn(&D, &str) -> Result,
    ) -> Self {
        let store = Some(store);
        Attribute { name, show, store }
    }
}
