// SPDX-License-Identifier: GPL-2.0
//! What VFIO's user interface (<linux/vfio.h>) demands of a device, checked call by call by a user
//! of its own. Options point it at any VFIO device of the lab VM (Documentation/lab.md).

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
mod session;
pub mod states;
pub mod target;
pub mod v1;
