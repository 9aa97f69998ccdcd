// SPDX-License-Identifier: GPL-2.0

//! The module parameter `migration`: which of VFIO's migration protocols devices offer.
//!
//! The kernel crate has module parameters for integers only; `param.c` parses this one.

use super::raw;

/// The parameter, as a set of `MDEV_SDK_OFFERS_*`.
fn offered() -> u32 {
    // SAFETY: Written while the module is being loaded, which is before anything of it runs.
    unsafe { raw::mdev_sdk_migration }
}

/// Whether devices have protocol v1's migration region.
pub(crate) fn offers_v1() -> bool {
    offered() & raw::MDEV_SDK_OFFERS_V1 != 0
}

/// Whether devices have protocol v2's features.
pub(crate) fn offers_v2() -> bool {
    offered() & raw::MDEV_SDK_OFFERS_V2 != 0
}
