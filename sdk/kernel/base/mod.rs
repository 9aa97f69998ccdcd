// SPDX-License-Identifier: GPL-2.0

//! The ground floor: the generated bindings, and what every other room needs to use them.
//!
//! It knows the C side of the kernel and nothing of devices. Everybody comes in.

pub(crate) mod compat;
pub(crate) mod limit;
pub(crate) mod lock;
pub(crate) mod param;
pub(crate) mod raw;
pub(crate) mod wait;
