// SPDX-License-Identifier: GPL-2.0

//! Interrupts: the vectors that a device drives, and the eventfds that signal them to user space.
//!
//! `mdev_model::irq` decides when to signal; here are the locks, the eventfds and the checks of
//! `VFIO_DEVICE_SET_IRQS`. This layer knows `base` alone. The driver's [`Context`](crate::Context)
//! drives the vectors, the migration session stops and starts it, and VFIO's ioctls configure it.

mod eventfd;
mod irqs;
mod set;

pub(crate) use eventfd::EventFd;
pub(crate) use irqs::Irqs;
pub(crate) use set::{set_request, SetIrqs};
