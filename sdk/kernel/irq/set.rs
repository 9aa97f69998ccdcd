// SPDX-License-Identifier: GPL-2.0

//! Requests of `VFIO_DEVICE_SET_IRQS`, and the device request, which is an interrupt index in name
//! only.
//!
//! C header: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use super::EventFd;
use crate::base::raw;
use kernel::{prelude::*, sync::Mutex};

/// A request of `VFIO_DEVICE_SET_IRQS` whose data has been read and bounded.
pub(crate) struct SetIrqs<'a> {
    pub(crate) flags: u32,
    pub(crate) start: u32,
    pub(crate) count: u32,
    /// `count` elements, of the size that `flags` gives.
    pub(crate) data: &'a [u8],
}

/// The data of a request for the single vector that a device of this SDK has.
pub(super) enum Data {
    None,
    Bool(bool),
    /// An eventfd; -1 means none.
    EventFd(i32),
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

    /// Returns the data of a request for exactly vector 0; EINVAL for any other.
    pub(super) fn single(&self) -> Result<Data> {
        if self.start != 0 || self.count != 1 {
            return Err(EINVAL);
        }
        match self.flags & raw::VFIO_IRQ_SET_DATA_TYPE_MASK {
            raw::VFIO_IRQ_SET_DATA_NONE => Ok(Data::None),
            raw::VFIO_IRQ_SET_DATA_BOOL => Ok(Data::Bool(*self.data.first().ok_or(EINVAL)? != 0)),
            raw::VFIO_IRQ_SET_DATA_EVENTFD => {
                let bytes = self.data.get(..4).ok_or(EINVAL)?;
                Ok(Data::EventFd(i32::from_ne_bytes(
                    bytes.try_into().map_err(|_| EINVAL)?,
                )))
            }
            _ => Err(EINVAL),
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
    match set.single()? {
        Data::EventFd(fd) => *request = eventfd(fd)?,
        Data::None => request.as_ref().ok_or(EINVAL)?.signal(),
        Data::Bool(true) => request.iter().for_each(|request| request.signal()),
        Data::Bool(false) => {}
    }
    Ok(())
}
