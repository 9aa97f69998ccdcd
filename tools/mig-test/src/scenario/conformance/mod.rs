// SPDX-License-Identifier: GPL-2.0
//! The requirements of VFIO's user interface (<linux/vfio.h>), checked call by call. Options select
//! any VFIO device of the lab VM (Documentation/lab.md).

pub mod checks;
pub mod concurrency;
pub mod data;
mod disable;
pub mod info;
pub mod interrupts;
pub mod lifetime;
mod moved_intx;
mod oracle;
mod places;
mod race;
pub mod refusal;
pub mod regions;
pub mod reopen;
mod session;
pub mod states;
pub mod target;
pub mod v1;
