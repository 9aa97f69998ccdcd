// SPDX-License-Identifier: GPL-2.0

//! The module parameter `migration`: which of VFIO's migration protocols devices offer.
//!
//! The kernel crate has integer parameters only; `param.c` parses this one.

use super::raw;

/// Returns the parameter, as a set of `MDEV_SDK_OFFERS_*`.
fn offered() -> u32 {
    // SAFETY: The variable is written only while the module loads, before any other code of it
    // runs.
    unsafe { raw::mdev_sdk_migration }
}

/// Returns whether devices have protocol v1's migration region.
pub(crate) fn offers_v1() -> bool {
    offered() & raw::MDEV_SDK_OFFERS_V1 != 0
}

/// Returns whether devices have protocol v2's features.
pub(crate) fn offers_v2() -> bool {
    offered() & raw::MDEV_SDK_OFFERS_V2 != 0
}
