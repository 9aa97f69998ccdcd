// SPDX-License-Identifier: GPL-2.0
//! The requirements of VFIO's user interface (<linux/vfio.h>), checked call by call. Options select
//! any VFIO device of the lab VM (Documentation/lab.md).

pub mod checks;
pub mod concurrency;
pub mod data;
mod disable;
pub mod here;
pub mod info;
pub mod interrupts;
pub mod lifetime;
pub mod mistakes;
mod moved_intx;
pub mod oracle;
mod places;
mod race;
pub mod ranges;
pub mod refusal;
pub mod regions;
pub mod reopen;
pub mod session;
pub mod source;
pub mod states;
pub mod target;
pub mod v1;

use source::Test;

/// The tests of VFIO's interface and of protocol v2, by the rule that each checks.
pub const UAPI: [(&str, Test); 9] = [
    ("uapi.info", info::test),
    ("uapi.regions", regions::test),
    ("uapi.interrupts", interrupts::test),
    ("uapi.states", states::test),
    ("uapi.data", data::test),
    ("uapi.refusal", refusal::test),
    ("uapi.lifetime", lifetime::test),
    ("uapi.reopen", reopen::test),
    ("uapi.concurrency", concurrency::test),
];

/// The same for protocol v1.
pub const V1: [(&str, Test); 5] = [
    ("v1.states", v1::states::test),
    ("v1.registers", v1::registers::test),
    ("v1.data", v1::data::test),
    ("v1.owner", v1::owner::test),
    ("v1.races", v1::races::test),
];
