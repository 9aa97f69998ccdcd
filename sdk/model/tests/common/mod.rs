// SPDX-License-Identifier: GPL-2.0

//! Helpers that the tests share.
#![allow(dead_code)] // each test binary uses its part

pub mod config;
pub mod irq;
pub mod stream;
pub mod v1;
