// SPDX-License-Identifier: GPL-2.0

//! What `VFIO_DEVICE_SET_IRQS` asks for, and the one interrupt that is no interrupt: the request.
//!
//! C header: `include/uapi/linux/vfio.h`

use super::EventFd;
use crate::base::raw;
use kernel::{prelude::*, sync::Mutex};

/// What `VFIO_DEVICE_SET_IRQS` asks for, with its data already read and bounded.
pub(crate) struct SetIrqs<'a> {
    pub(crate) flags: u32,
    pub(crate) start: u32,
    pub(crate) count: u32,
    /// `count` elements of the size that `flags` says.
    pub(crate) data: &'a [u8],
}

/// The data of a request for the one vector that a device of this SDK has.
pub(super) enum Data {
    None,
    Bool(bool),
    /// -1 stands for "no eventfd".
    EventFd(i32),
}

impl SetIrqs<'_> {
    pub(super) fn action(&self) -> u32 {
        self.flags & raw::VFIO_IRQ_SET_ACTION_TYPE_MASK
    }

    /// `count` 0 with no data switches the interrupt off.
    pub(super) fn disables(&self) -> bool {
        self.count == 0 && self.flags & raw::VFIO_IRQ_SET_DATA_NONE != 0
    }

    /// The data of a request for exactly vector 0.
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

/// Returns the eventfd for `fd`, `None` for a negative one.
pub(super) fn eventfd(fd: i32) -> Result<Option<EventFd>> {
    if fd < 0 {
        Ok(None)
    } else {
        EventFd::from_fd(fd).map(Some)
    }
}

/// `VFIO_DEVICE_SET_IRQS` for `VFIO_PCI_REQ_IRQ_INDEX`: `request` is where user space wants to hear
/// that the device is to go.
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
