// SPDX-License-Identifier: GPL-2.0

//! Helpers that the tests share.

pub mod config;
pub mod irq;
pub mod stream;
pub mod v1;
