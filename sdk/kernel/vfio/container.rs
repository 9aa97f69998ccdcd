// SPDX-License-Identifier: GPL-2.0

//! An mdev as VFIO sees it: `struct vfio_device`, and what it carries from `create` to `remove`.
//!
//! C header: `include/linux/vfio.h`

use super::{device_ops, dirty_log, migration_v2};
use crate::{
    base::{compat::raw_try_init, limit::Limit, lock, param, raw},
    driver::{Driver, Open},
    irq::EventFd,
    memory::{Pins, PinsRoom},
    migration::MigrationState,
};
use core::{
    cell::UnsafeCell,
    mem::{align_of, offset_of, size_of},
    ptr::{self, NonNull},
};
use kernel::{
    device,
    error::{from_err_ptr, to_result},
    page::PAGE_SIZE,
    prelude::*,
    static_lock_class,
    sync::{Arc, Mutex},
    types::Opaque,
};

/// The part of a [`Device`] that is Rust's.
#[pin_data]
pub(super) struct Body<D: Driver> {
    pub(super) driver: D,
    /// Where user space wants to hear that the device is to go (`VFIO_PCI_REQ_IRQ_INDEX`). Here,
    /// and not in `open`, because VFIO may ask while the device is being opened or closed.
    #[pin]
    pub(super) request: Mutex<Option<EventFd>>,
    /// The guest memory that is pinned through the device; here for the same reason.
    pub(super) pins: Arc<Pins>,
    /// The messages that user space can cause, at this mdev.
    pub(super) reports: Arc<Limit>,
    /// Here, and not in `open`, because debugfs asks for the state at any time.
    pub(super) migration: Arc<MigrationState<D::Open>>,
    pub(super) open: UnsafeCell<Option<Arc<Open<D::Open>>>>,
}

/// An mdev as VFIO sees it: `struct vfio_device` first, then the rest.
///
/// # Invariants
///
/// - VFIO allocated the memory, with room for all of it, and `vdev` is a registered `vfio_device`
///   from the end of [`register`](Self::register) to [`unregister`](Self::unregister).
/// - `body` is initialised from before `vdev` is registered to VFIO's `release` callback.
/// - `body.open` is written by the `open_device` and `close_device` callbacks alone. VFIO
///   serialises the two, and runs `read`, `write`, `mmap`, `ioctl` and the callbacks that change
///   the migration state or the DMA log only between them. All others (`dma_unmap`, `request`,
///   `migration_get_state`) may run at any time while `vdev` is registered, and must not look at
///   it.
#[repr(C)]
pub(crate) struct Device<D: Driver> {
    vdev: Opaque<raw::vfio_device>,
    body: Body<D>,
}

impl<D: Driver> Device<D> {
    /// Allocates and registers the VFIO device of an mdev, which carries `driver`.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an `mdev_device` that is being probed by the driver of
    /// `D`.
    pub(crate) unsafe fn register(dev: *mut raw::device, driver: D) -> Result {
        const {
            assert!(
                offset_of!(Self, vdev) == 0,
                "VFIO allocates and frees a device by its first field"
            );
            // kvzalloc() aligns by the largest power of two that divides the size, up to a page.
            assert!(
                align_of::<Self>() <= PAGE_SIZE,
                "the kernel aligns no allocation by more than a page"
            );
        }
        let migration = MigrationState::new()?;
        let (reports, room) = (Limit::new()?, PinsRoom::new()?);
        // SAFETY: The size is that of the type that `release` knows; `dev` is a device by the
        // function's contract.
        let vdev = from_err_ptr(unsafe {
            raw::_vfio_alloc_device(size_of::<Self>(), dev, device_ops::of::<D>())
        })?;
        // SAFETY: `vdev` is a VFIO device, whose callbacks open and close the way to guest memory.
        let pins = unsafe { Pins::new(room, NonNull::new_unchecked(vdev)) };
        let body = pin_init!(Body::<D> {
            driver,
            request <- Mutex::new(None, lock::REQUEST, static_lock_class!()),
            pins,
            reports,
            migration,
            open: UnsafeCell::new(None),
        });
        // INVARIANT: VFIO knows the device only to free it, from here on by way of `release`.
        // SAFETY: VFIO has just allocated the memory of a whole `Self`, which it never moves.
        let Ok(()) = unsafe { raw_try_init(&raw mut (*vdev.cast::<Self>()).body, body) };
        // SAFETY: `vdev` is allocated and not registered, which is when these may be set.
        unsafe {
            if param::offers_v2() {
                (*vdev).migration_flags = raw::VFIO_MIGRATION_STOP_COPY
                    | raw::VFIO_MIGRATION_P2P
                    | raw::VFIO_MIGRATION_PRE_COPY;
                (*vdev).mig_ops = migration_v2::ops::<D>();
                (*vdev).log_ops = dirty_log::ops::<D>();
            }
        }
        // SAFETY: As above.
        let result = to_result(unsafe { raw::vfio_register_emulated_iommu_dev(vdev) });
        match result {
            // SAFETY: `dev` is being probed, so its driver data is ours.
            Ok(()) => unsafe { raw::dev_set_drvdata(dev, vdev.cast()) },
            // SAFETY: The only reference, which is given up.
            Err(_) => unsafe { raw::vfio_put_device(vdev) },
        }
        result
    }

    /// Unregisters the VFIO device of an mdev; waits until user space has closed it.
    ///
    /// # Safety
    ///
    /// [`register`](Self::register) must have succeeded for `dev`, which is being unbound.
    pub(crate) unsafe fn unregister(dev: *mut raw::device) {
        // SAFETY: `register` left the registered device there, with one reference.
        unsafe {
            let vdev = raw::dev_get_drvdata(dev).cast();
            raw::vfio_unregister_group_dev(vdev);
            raw::vfio_put_device(vdev);
        }
    }

    /// Drops what the device carries; VFIO frees the memory.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D` of which the last reference is gone.
    pub(super) unsafe fn release(vdev: *mut raw::vfio_device) {
        // SAFETY: By the type invariant the body is initialised; by the function's contract nobody
        // uses it any more.
        unsafe { ptr::drop_in_place(&raw mut (*vdev.cast::<Self>()).body) };
    }

    /// Returns what `vdev` carries.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D` whose last reference is not gone for `'a`.
    pub(super) unsafe fn body<'a>(vdev: *mut raw::vfio_device) -> &'a Body<D> {
        // SAFETY: By the function's contract `vdev` is the first field of a `Self`, and by the type
        // invariant its body is initialised.
        unsafe { &(*vdev.cast::<Self>()).body }
    }

    /// Returns the open device; ENODEV if it was not opened.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D`, and the caller a callback that VFIO runs between
    /// `open_device` and `close_device`.
    pub(super) unsafe fn open<'a>(vdev: *mut raw::vfio_device) -> Result<&'a Open<D::Open>> {
        // SAFETY: By the function's contract, and by the type invariant nobody writes `open` now.
        unsafe { (*Self::body(vdev).open.get()).as_deref() }.ok_or(ENODEV)
    }

    /// Returns the device that the mdev is, for messages in the kernel log.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` whose last reference is not gone for `'a`.
    pub(super) unsafe fn of_mdev<'a>(vdev: *mut raw::vfio_device) -> &'a device::Device {
        // SAFETY: VFIO sets `dev` before anything else, and holds it as long as `vdev` lives.
        unsafe { device::Device::from_raw((*vdev).dev) }
    }
}
