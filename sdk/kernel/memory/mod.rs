// SPDX-License-Identifier: GPL-2.0

//! Memory: the guest's, which a device reaches by IOVA, and the device's own, which a guest maps.
//!
//! | in | is |
//! |---|---|
//! | `guest_memory`, `pins` | what a driver reads, writes and pins; how an unmap or a close takes it back |
//! | `dirty_log` | the account of what was written there |
//! | `device_memory`, `window`, `mapping` | memory behind a BAR or a region, and who has it mapped |
//! | `atomic_pages` | which of its pages are dirty, or used |
//! | `wakeup` | who waits for the next write to device memory |
//!
//! This room knows `base` alone: no driver, no session. Drivers come in by the public types; VFIO's
//! callbacks attach, unmap and close.

mod atomic_pages;
mod device_memory;
mod dirty_log;
mod guest_memory;
mod mapping;
mod pins;
mod wakeup;
mod window;

pub use device_memory::DeviceMemory;
pub use guest_memory::{Access, Dma, GuestMemory, Pinned, Read, Write};

pub(crate) use dirty_log::{Log, OFFERED as LOG_IS_OFFERED};
pub(crate) use pins::{Pins, Room as PinsRoom};
pub(crate) use wakeup::Wakeup;
pub(crate) use window::Window;
