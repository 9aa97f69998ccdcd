// SPDX-License-Identifier: GPL-2.0

//! The VFIO device of an mdev: `struct vfio_device`, and the data that it carries from `create` to
//! `remove`.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use super::{debugfs, device_ops, dirty_log, migration_v2};
use crate::{
    base::{compat::raw_try_init, limit::Limit, lock, param, raw},
    driver::{Driver, Open, Type},
    irq::EventFd,
    memory::{DmaParent, Pins, PinsRoom},
    migration::MigrationState,
};
use core::{
    cell::UnsafeCell,
    mem::{align_of, offset_of, size_of},
    ptr::{self, NonNull},
};
use kernel::{
    debugfs::{Dir, File},
    device,
    error::{from_err_ptr, to_result},
    page::PAGE_SIZE,
    prelude::*,
    static_lock_class,
    sync::{Arc, Mutex},
    types::Opaque,
};

/// The Rust part of a [`Device`].
#[pin_data]
pub(super) struct Body<D: Driver> {
    /// The device in debugfs; first, so that it is removed first.
    #[pin]
    debugfs: File<debugfs::Device<D::Open>>,
    pub(super) driver: D,
    /// The mdev's type.
    pub(super) ty: &'static Type,
    /// The eventfd by which user space is asked to release the device (`VFIO_PCI_REQ_IRQ_INDEX`).
    /// It is not in `open`, because VFIO may request the device while it is being opened or closed.
    #[pin]
    pub(super) request: Mutex<Option<EventFd>>,
    /// The guest memory that is pinned through the device; not in `open`, for the same reason.
    pub(super) pins: Arc<Pins>,
    /// The limit on messages that user space can cause at this mdev.
    pub(super) reports: Arc<Limit>,
    /// Not in `open`, because debugfs reads the state at any time.
    pub(super) migration: Arc<MigrationState<D::Open>>,
    /// The open device; `None` while it is closed.
    pub(super) open: UnsafeCell<Option<Arc<Open<D::Open>>>>,
}

/// The VFIO device of an mdev: `struct vfio_device` first, then the data of the SDK and the driver.
///
/// # Invariants
///
/// - VFIO allocated the memory of the whole type, and `vdev` is a registered `vfio_device` from the
///   end of [`register`](Self::register) to [`unregister`](Self::unregister).
/// - `body` is initialized from before `vdev` is registered until VFIO's `release` callback.
/// - `body.open` is written only by the `open_device` and `close_device` callbacks. VFIO serializes
///   these two. Between them it runs `read`, `write`, `mmap`, `ioctl` and the callbacks that change
///   the migration state or the DMA log. All others (`dma_unmap`, `request`, `migration_get_state`)
///   may run at any time while `vdev` is registered, and must not access it.
#[repr(C)]
pub(crate) struct Device<D: Driver> {
    vdev: Opaque<raw::vfio_device>,
    body: Body<D>,
}

impl<D: Driver> Device<D> {
    /// Allocates and registers the VFIO device of an mdev of type `ty`, with `driver` as the
    /// driver's data. debugfs shows it in `folder`. Its hardware, if it has any, is that of
    /// `parent`.
    ///
    /// # Errors
    ///
    /// ENOMEM, or the error with which VFIO refuses to allocate or register the device.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an `mdev_device` that the driver of `D` is probing.
    pub(crate) unsafe fn register(
        dev: *mut raw::device,
        driver: D,
        ty: &'static Type,
        folder: &Dir,
        parent: Option<DmaParent>,
    ) -> Result {
        const {
            assert!(
                offset_of!(Self, vdev) == 0,
                "VFIO allocates and frees a device by its first field"
            );
            // kvzalloc() aligns to the largest power of two that divides the size, up to a page.
            assert!(
                align_of::<Self>() <= PAGE_SIZE,
                "the kernel aligns no allocation by more than a page"
            );
        }
        let migration = MigrationState::new()?;
        let (reports, room) = (Limit::new()?, PinsRoom::new()?);
        // SAFETY: The size is that of `Self`, which `release` drops. The caller guarantees that
        // `dev` is a valid device.
        let vdev = from_err_ptr(unsafe {
            raw::_vfio_alloc_device(size_of::<Self>(), dev, device_ops::of::<D>())
        })?;
        // SAFETY: `vdev` is a VFIO device, and its callbacks open and close `pins`.
        let pins = unsafe { Pins::new(room, NonNull::new_unchecked(vdev), parent) };
        // SAFETY: The caller guarantees that `dev` is valid.
        let mdev: &device::Device = unsafe { device::Device::from_raw(dev) };
        let body = pin_init!(Body::<D> {
            debugfs <- debugfs::file(folder, mdev.name(), migration.clone(), pins.clone()),
            driver,
            ty,
            request <- Mutex::new(None, lock::REQUEST, static_lock_class!()),
            pins,
            reports,
            migration,
            open: UnsafeCell::new(None),
        });
        // INVARIANT: `body` is initialized, and `vdev` is not registered yet. VFIO does nothing
        // with it but free it, and calls `release` before that.
        // SAFETY: VFIO has just allocated the memory of a whole `Self`, and never moves it.
        let Ok(()) = unsafe { raw_try_init(&raw mut (*vdev.cast::<Self>()).body, body) };
        // SAFETY: `vdev` is allocated and not registered; only until then may these fields be set.
        unsafe {
            if param::offers_v2() {
                (*vdev).migration_flags = raw::VFIO_MIGRATION_STOP_COPY
                    | raw::VFIO_MIGRATION_P2P
                    | raw::VFIO_MIGRATION_PRE_COPY;
                (*vdev).mig_ops = migration_v2::ops::<D>();
                (*vdev).log_ops = dirty_log::ops::<D>();
            }
        }
        // INVARIANT: On success `vdev` is registered.
        // SAFETY: `vdev` is allocated, not registered, and completely set up.
        let result = to_result(unsafe { raw::vfio_register_emulated_iommu_dev(vdev) });
        match result {
            // SAFETY: `dev` is being probed, so its driver data belongs to its driver.
            Ok(()) => unsafe { raw::dev_set_drvdata(dev, vdev.cast()) },
            // SAFETY: This is the only reference, and it is not used after this.
            Err(_) => unsafe { raw::vfio_put_device(vdev) },
        }
        result
    }

    /// Unregisters the VFIO device of an mdev, and waits until user space has closed it.
    ///
    /// # Safety
    ///
    /// [`register`](Self::register) must have succeeded for `dev`, and `dev` must be being unbound.
    pub(crate) unsafe fn unregister(dev: *mut raw::device) {
        // SAFETY: The caller guarantees that `register` succeeded, so the driver data is the
        // registered device, and this code owns one reference to it.
        unsafe {
            let vdev = raw::dev_get_drvdata(dev).cast();
            raw::vfio_unregister_group_dev(vdev);
            raw::vfio_put_device(vdev);
        }
    }

    /// Drops the body; VFIO frees the memory.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D` whose last reference is gone.
    pub(super) unsafe fn release(vdev: *mut raw::vfio_device) {
        // SAFETY: By the type invariant the body is initialized. The caller guarantees that the
        // last reference is gone, so nothing else uses it.
        unsafe { ptr::drop_in_place(&raw mut (*vdev.cast::<Self>()).body) };
    }

    /// Returns the body of `vdev`.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D` with a reference that lives for `'a`.
    pub(super) unsafe fn body<'a>(vdev: *mut raw::vfio_device) -> &'a Body<D> {
        // SAFETY: The caller guarantees that `vdev` is the first field of a live `Self`, and by the
        // type invariant its body is initialized.
        unsafe { &(*vdev.cast::<Self>()).body }
    }

    /// Returns the open device.
    ///
    /// # Errors
    ///
    /// ENODEV if it is not open.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` of `D`, and the caller must be a callback that VFIO runs
    /// between `open_device` and `close_device`.
    pub(super) unsafe fn open<'a>(vdev: *mut raw::vfio_device) -> Result<&'a Open<D::Open>> {
        // SAFETY: The caller guarantees that `vdev` is of `D` and open, and by the type invariant
        // nothing writes `open` now.
        unsafe { (*Self::body(vdev).open.get()).as_deref() }.ok_or(ENODEV)
    }

    /// Returns the body of the device of an mdev.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an mdev that is bound to the driver of `D`, for `'a`.
    unsafe fn body_of_mdev<'a>(dev: *mut raw::device) -> &'a Body<D> {
        // SAFETY: The caller guarantees that `dev` is bound, so `register` has stored the device.
        unsafe { Self::body(raw::dev_get_drvdata(dev).cast()) }
    }

    /// Returns the type of an mdev.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an mdev that is bound to the driver of `D`.
    pub(crate) unsafe fn type_of_mdev(dev: *mut raw::device) -> &'static Type {
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        unsafe { Self::body_of_mdev(dev) }.ty
    }

    /// Returns the driver's value of an mdev.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an mdev that is bound to the driver of `D`, for `'a`.
    pub(crate) unsafe fn driver_of_mdev<'a>(dev: *mut raw::device) -> &'a D {
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        &unsafe { Self::body_of_mdev(dev) }.driver
    }

    /// Returns the bytes that STOP_COPY has yet to transfer for an mdev.
    ///
    /// # Errors
    ///
    /// ENODEV while the device is closed; EBUSY while its state is being changed or transferred.
    ///
    /// # Safety
    ///
    /// `dev` must be the `struct device` of an mdev that is bound to the driver of `D`.
    pub(crate) unsafe fn stop_copy_length_of_mdev(dev: *mut raw::device) -> Result<u64> {
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        let migration = unsafe { &Self::body_of_mdev(dev).migration };
        migration.summary().ok_or(EBUSY)?.stop_copy_length
    }

    /// Returns the mdev's device, for messages in the kernel log.
    ///
    /// # Safety
    ///
    /// `vdev` must be a `vfio_device` whose mdev lives for `'a`: the driver core keeps it until the
    /// mdev driver's `remove` returns.
    pub(super) unsafe fn of_mdev<'a>(vdev: *mut raw::vfio_device) -> &'a device::Device {
        // SAFETY: VFIO sets `dev` when it allocates `vdev`. The caller guarantees that the mdev
        // lives.
        unsafe { device::Device::from_raw((*vdev).dev) }
    }
}
