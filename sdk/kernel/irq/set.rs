// SPDX-License-Identifier: GPL-2.0

//! Requests of `VFIO_DEVICE_SET_IRQS`, and the device request, which is an interrupt index in name
//! only.
//!
//! C header: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use super::EventFd;
use crate::base::raw;
use core::{mem::size_of, ops::Range};
use kernel::{prelude::*, sync::Mutex};

/// A request of `VFIO_DEVICE_SET_IRQS` whose data has been read and bounded.
pub(crate) struct SetIrqs<'a> {
    pub(crate) flags: u32,
    pub(crate) start: u32,
    pub(crate) count: u32,
    /// `count` elements, of the size that `flags` gives.
    pub(crate) data: &'a [u8],
}

impl SetIrqs<'_> {
    /// Returns the action, one of `VFIO_IRQ_SET_ACTION_*`.
    pub(super) fn action(&self) -> u32 {
        self.flags & raw::VFIO_IRQ_SET_ACTION_TYPE_MASK
    }

    /// Returns whether the request disables the interrupt: `count` is 0 and there is no data.
    pub(super) fn disables(&self) -> bool {
        self.count == 0 && self.flags & raw::VFIO_IRQ_SET_DATA_NONE != 0
    }

    /// Returns the vectors that the request is for, as many as `count`; they exist, says the check
    /// of `vfio_set_irqs_validate_and_prepare()`.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.count as usize
    }

    /// Returns EINVAL if the request is for anything else than exactly vector 0.
    pub(super) fn require_vector_0(&self) -> Result {
        match (self.start, self.count) {
            (0, 1) => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Returns whether the data are eventfds.
    pub(super) fn has_eventfds(&self) -> bool {
        self.flags & raw::VFIO_IRQ_SET_DATA_EVENTFD != 0
    }

    /// Returns the eventfds of the data, if these are what it has; a negative one means none.
    pub(super) fn eventfds(&self) -> impl Iterator<Item = i32> + '_ {
        let data = if self.has_eventfds() { self.data } else { &[] };
        let fds = data.chunks_exact(size_of::<i32>());
        fds.map(|fd| fd.try_into().map_or(-1, i32::from_ne_bytes))
    }

    /// Returns whether the action is for element `at` of the request: data of booleans says so, no
    /// data means all.
    pub(super) fn selects(&self, at: usize) -> bool {
        match self.flags & raw::VFIO_IRQ_SET_DATA_TYPE_MASK {
            raw::VFIO_IRQ_SET_DATA_NONE => true,
            raw::VFIO_IRQ_SET_DATA_BOOL => self.data.get(at).is_some_and(|&byte| byte != 0),
            _ => false,
        }
    }
}

/// Returns the eventfd `fd`, or `None` if `fd` is negative.
pub(super) fn eventfd(fd: i32) -> Result<Option<EventFd>> {
    if fd < 0 {
        Ok(None)
    } else {
        EventFd::from_fd(fd).map(Some)
    }
}

/// Handles `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_REQ_IRQ_INDEX`: `request` is the eventfd that asks
/// user space to release the device.
///
/// # Errors
///
/// ENOTTY for another action than a trigger; EINVAL if no eventfd is set where one is needed, or
/// the request is not for exactly vector 0; else the error of the eventfd.
pub(crate) fn set_request(request: &Mutex<Option<EventFd>>, set: &SetIrqs<'_>) -> Result {
    if set.action() != raw::VFIO_IRQ_SET_ACTION_TRIGGER {
        return Err(ENOTTY);
    }
    let mut request = request.lock();
    if set.disables() {
        return request.take().map(drop).ok_or(EINVAL);
    }
    set.require_vector_0()?;
    match set.eventfds().next() {
        Some(fd) => *request = eventfd(fd)?,
        None if set.flags & raw::VFIO_IRQ_SET_DATA_NONE != 0 => {
            request.as_ref().ok_or(EINVAL)?.signal();
        }
        None if set.selects(0) => request.iter().for_each(|request| request.signal()),
        None => {}
    }
    Ok(())
}
