// SPDX-License-Identifier: GPL-2.0

//! Memory: the guest's, which a device accesses by IOVA, and the device's own, which a guest maps.
//!
//! | in | is |
//! |---|---|
//! | `guest_memory`, `pinned`, `pins` | guest memory that a driver copies and pins |
//! | `guest_array`, `value` | structures in guest memory |
//! | `page_access` | accesses to pages that others write meanwhile |
//! | `dirty_log` | the log of the guest memory that the device writes |
//! | `device_memory`, `part`, `window`, `mapping` | memory behind a region, and its mappings |
//! | `io_memory` | I/O memory of a parent behind a region |
//! | `staged_memory` | contents of device memory that arrive in a stream |
//! | `atomic_pages` | the sets of dirty and of used pages of device memory |
//! | `wakeup` | pollers that wait for the next write to device memory |
//!
//! This layer knows `base` alone: no driver and no session. Drivers use the public types; VFIO's
//! callbacks attach, unmap and close.

mod atomic_pages;
mod device_memory;
mod dirty_log;
mod guest_array;
mod guest_memory;
mod io_memory;
mod mapping;
mod page_access;
mod part;
mod pinned;
mod pins;
mod staged_memory;
mod value;
mod wakeup;
mod window;

pub use device_memory::DeviceMemory;
pub use guest_array::GuestArray;
pub use guest_memory::GuestMemory;
pub use io_memory::IoMemory;
pub use pinned::{Access, Dma, Pinned, Read, Write};
pub use staged_memory::StagedMemory;

pub(crate) use dirty_log::{Log, OFFERED as LOG_IS_OFFERED};
pub(crate) use io_memory::Registers;
pub(crate) use part::{Content, Part};
pub(crate) use pins::{DmaParent, Pins, Room as PinsRoom};
pub(crate) use wakeup::Wakeup;
pub(crate) use window::Window;
