// SPDX-License-Identifier: GPL-2.0
//! What the models' own tests work with: a writer of sessions, a device of records, a card on a
//! test's memory.
#![allow(dead_code, unused_imports, missing_docs)] // each target uses its part

#[path = "../../../sdk/model/tests/common/config.rs"]
pub mod config;
#[path = "../../../sdk/model/tests/common/irq.rs"]
pub mod irq;
#[path = "../../../drivers/mgpu_rs/tests/common/mod.rs"]
pub mod mgpu;
#[path = "../../../sdk/model/tests/common/stream.rs"]
pub mod stream;
#[path = "../../../sdk/model/tests/common/v1.rs"]
pub mod v1;
