// SPDX-License-Identifier: GPL-2.0

//! What a driver implements, and what it is handed: the whole of its side of the SDK, but memory.
//!
//! | in | is |
//! |---|---|
//! | `operations` | the traits `Driver` and `Operations` |
//! | `migrate`, `record` | the trait `Migrate`, and where it puts what it saves |
//! | `context` | the SDK's part of an open device, as a callback sees it |
//! | `open` | that and the driver's part: all there is of an open device |
//! | `worker` | work apart from callbacks |
//!
//! This room knows `memory` and `irq`; no protocol, no file and no ioctl. The session calls the
//! driver through it, and so do VFIO's callbacks.

mod context;
mod migrate;
mod open;
mod operations;
mod record;
mod worker;

pub use context::Context;
pub use migrate::{Codec, Migrate, Pending, Phase, Progress};
pub use operations::{Driver, NewDevice, Operations, Plane, Type};
pub use record::{crc32c, RecordWriter};
pub use worker::{Task, Worker};

pub(crate) use open::Open;
pub(crate) use record::{errno, DeferredPayload};
