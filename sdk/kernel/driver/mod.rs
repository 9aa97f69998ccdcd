// SPDX-License-Identifier: GPL-2.0

//! What a driver implements and what its callbacks receive, apart from memory.
//!
//! | in | is |
//! |---|---|
//! | `operations` | the traits `Driver` and `Operations` |
//! | `migrate`, `record` | the trait `Migrate`, and the writer of the records that it saves |
//! | `fixed_state` | what `Migrate` is derived from if the state is one record of fixed size |
//! | `modelled` | the driver of a device that is a model without a kernel, made of the others |
//! | `attribute` | files in sysfs that a driver defines |
//! | `budget` | what the mdevs of a parent share |
//! | `context` | the SDK's part of an open device, which callbacks receive |
//! | `open`, `parts` | an open device: the SDK's part and the driver's, and what of its BARs is memory |
//! | `engine`, `engines` | work outside of callbacks, and what stops it |
//!
//! This layer knows `memory` and `irq`, and no protocol, file or ioctl. The session and VFIO's
//! callbacks call the driver through it.

mod attribute;
mod budget;
mod context;
mod engine;
mod engines;
mod fixed_state;
mod migrate;
mod modelled;
mod open;
mod operations;
mod parts;
mod record;

pub use attribute::Attribute;
pub use budget::{Budget, Share};
pub use context::Context;
pub use engine::{Engine, Step, Task};
pub use fixed_state::FixedState;
pub use migrate::{Codec, Migrate, Pending, Phase, Progress};
pub use modelled::{ModelDriver, Modelled, OpenModel};
pub use operations::{Driver, NewDevice, Operations, Plane, Type};
pub use parts::Parts;
pub use record::{crc32c, RecordWriter};

pub(crate) use attribute::MOST as MOST_ATTRIBUTES;
pub(crate) use context::new_config;
pub(crate) use open::Open;
pub(crate) use parts::MOST as MOST_PARTS;
pub(crate) use record::{errno, DeferredPayload};
