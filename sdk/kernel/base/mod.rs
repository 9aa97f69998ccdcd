// SPDX-License-Identifier: GPL-2.0

//! Bindings, differences between kernel series, and helpers for every other layer.
//!
//! This layer knows the C side of the kernel, and nothing of devices. Every other layer uses it.

pub(crate) mod compat;
pub(crate) mod limit;
pub(crate) mod lock;
pub(crate) mod param;
pub(crate) mod raw;
pub(crate) mod trace;
pub(crate) mod wait;
