// SPDX-License-Identifier: GPL-2.0

//! Names of the locks that generic code makes.
//!
//! lockdep knows a lock class by its key and insists that its name is one pointer. The key of
//! generic code is one static of this crate, whoever instantiates it; a literal would be another
//! one in each driver, and lockdep complains once two are loaded. A static is not copied. The same
//! holds for an initialiser that generic code runs, since it is compiled there.

use kernel::prelude::*;

pub(crate) static REQUEST: &CStr = c"mdev_request";
pub(crate) static SESSION: &CStr = c"mdev_session";
pub(crate) static WAIT: &CStr = c"mdev_wait";
