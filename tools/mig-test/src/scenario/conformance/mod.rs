// SPDX-License-Identifier: GPL-2.0
//! What VFIO's user interface (<linux/vfio.h>) demands of a device, checked call by call by a user
//! of its own. `--device PATH` points it at any VFIO device.

pub mod checks;
pub mod concurrency;
pub mod data;
pub mod info;
pub mod interrupts;
pub mod lifetime;
mod oracle;
pub mod refusal;
pub mod regions;
mod session;
pub mod states;
mod target;
pub mod v1;
