// SPDX-License-Identifier: GPL-2.0

//! Names of the locks that generic code makes.
//!
//! lockdep identifies a lock class by its key, and requires that all locks of a class have the same
//! name pointer. The key in generic code is one static of this crate, in whatever crate the code is
//! instantiated; a string literal is another pointer in each of these crates, so lockdep would
//! complain once two drivers are loaded. A static is not duplicated. The same holds for an
//! initializer that generic code runs, since it is compiled in the driver's crate.

use kernel::prelude::*;

pub(crate) static MODEL: &CStr = c"mdev_model";
pub(crate) static REQUEST: &CStr = c"mdev_request";
pub(crate) static SESSION: &CStr = c"mdev_session";
pub(crate) static TRANSFER: &CStr = c"mdev_transfer";
pub(super) static WAIT: &CStr = c"mdev_wait";
