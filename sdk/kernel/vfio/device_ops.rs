// SPDX-License-Identifier: GPL-2.0

//! `struct vfio_device_ops`: opening and closing a device, and the requests that VFIO makes at any
//! time.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use super::{access, container::Device, ioctl};
use crate::{
    base::raw,
    driver::{Context, Driver, Open, Operations},
    memory::{GuestMemory, Part, Pins},
};
use core::marker::PhantomData;
use kernel::{prelude::*, str::as_char_ptr_in_const_context, sync::aref::ARef};

/// Returns the callbacks for a device of `D`.
pub(super) const fn of<D: Driver>() -> &'static raw::vfio_device_ops {
    &VTable::<D>::OPS
}

struct VTable<D: Driver>(PhantomData<D>);

impl<D: Driver> VTable<D> {
    const OPS: raw::vfio_device_ops = raw::vfio_device_ops {
        name: as_char_ptr_in_const_context(D::NAME).cast_mut(),
        release: Some(Self::release),
        open_device: Some(Self::open_device),
        close_device: Some(Self::close_device),
        read: Some(access::read::<D>),
        write: Some(access::write::<D>),
        mmap: Some(access::mmap::<D>),
        ioctl: Some(ioctl::ioctl::<D>),
        get_region_info_caps: Some(ioctl::get_region_info_caps::<D>),
        request: Some(Self::request),
        dma_unmap: Some(Self::dma_unmap),
        #[cfg(CONFIG_IOMMUFD)]
        bind_iommufd: Some(raw::vfio_iommufd_emulated_bind),
        #[cfg(CONFIG_IOMMUFD)]
        unbind_iommufd: Some(raw::vfio_iommufd_emulated_unbind),
        #[cfg(CONFIG_IOMMUFD)]
        attach_ioas: Some(raw::vfio_iommufd_emulated_attach_ioas),
        #[cfg(CONFIG_IOMMUFD)]
        detach_ioas: Some(raw::vfio_iommufd_emulated_detach_ioas),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `vdev` must be a device of `D` whose last reference is gone, and VFIO must be the caller.
    unsafe extern "C" fn release(vdev: *mut raw::vfio_device) {
        // SAFETY: The caller guarantees that `vdev` is of `D` and that its last reference is gone.
        unsafe { Device::<D>::release(vdev) };
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device of `D` that is not open, and VFIO must be the caller.
    unsafe extern "C" fn open_device(vdev: *mut raw::vfio_device) -> c_int {
        // SAFETY: The caller guarantees that `vdev` is a registered device of `D`.
        let body = unsafe { Device::<D>::body(vdev) };
        // The container knows the device already, and the driver may pin from the start of its
        // open.
        let needs_bus_master = body.ty.identity.needs_bus_master;
        let memory = GuestMemory::open(body.pins.clone(), needs_bus_master);
        // SAFETY: The caller guarantees that `vdev` is registered, of `D`, and being opened.
        let opened = unsafe { open::<D>(vdev, memory) }.inspect_err(|_| body.pins.close());
        opened.map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device of `D` that its last user closes, and VFIO must be the
    /// caller.
    unsafe extern "C" fn close_device(vdev: *mut raw::vfio_device) {
        // SAFETY: The caller guarantees that `vdev` is a registered device of `D`.
        let body = unsafe { Device::<D>::body(vdev) };
        *body.request.lock() = None;
        // INVARIANT: This is the `close_device` callback.
        // SAFETY: By the type invariant of `Device`, nothing else accesses `open` during this
        // callback.
        let open = unsafe { (*body.open.get()).take() };
        if let Some(open) = &open {
            // The driver may continue until it is dropped, but its interrupts go nowhere.
            open.cx.irqs.close();
        }
        // Stops hardware, even if the driver does not do so when it is dropped. `dma_unmap` still
        // finds the ranges meanwhile: it must not return before they are unpinned.
        body.pins.close();
        if let Some(open) = open {
            open.parts().iter().for_each(Part::detach);
            body.migration.close();
            open.cx.window.detach();
        }
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device of `D`, and VFIO must be the caller.
    unsafe extern "C" fn dma_unmap(vdev: *mut raw::vfio_device, iova: u64, length: u64) {
        // SAFETY: The caller guarantees that `vdev` is a registered device of `D`.
        let body = unsafe { Device::<D>::body(vdev) };
        if let Some(more) = length.checked_sub(1) {
            Pins::revoke(&body.pins, &(iova..=iova.saturating_add(more)));
        }
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device of `D`, and VFIO must be the caller.
    unsafe extern "C" fn request(vdev: *mut raw::vfio_device, count: c_uint) {
        // SAFETY: The caller guarantees that `vdev` is a registered device of `D`.
        let (body, mdev) = unsafe { (Device::<D>::body(vdev), Device::<D>::of_mdev(vdev)) };
        if let Some(request) = &*body.request.lock() {
            request.signal();
        } else if count == 0 {
            dev_warn!(mdev, "mdev: waiting for user space to close the device\n");
        }
    }
}

/// Opens the device for its first user; `memory` is the guest memory of that user.
///
/// # Errors
///
/// EINVAL if the driver's identity or a part of its BARs is invalid; ENOMEM; else the driver's
/// error.
///
/// # Safety
///
/// `vdev` must be a registered `vfio_device` of `D` that is being opened.
unsafe fn open<D: Driver>(vdev: *mut raw::vfio_device, memory: GuestMemory) -> Result {
    // SAFETY: The caller guarantees that `vdev` is a registered device of `D`.
    let (body, mdev) = unsafe { (Device::<D>::body(vdev), Device::<D>::of_mdev(vdev)) };
    if let Err((rule, bar)) = body.ty.identity.check() {
        if body.reports.spend().is_some() {
            match bar {
                Some(bar) => dev_err!(mdev, "mdev: the driver's identity: BAR {bar}: {rule}\n"),
                None => dev_err!(mdev, "mdev: the driver's identity: {rule}\n"),
            }
        }
        return Err(EINVAL);
    }
    let cx = Context::new(
        ARef::from(mdev),
        D::OWNER,
        body.ty,
        memory,
        body.reports.clone(),
        body.migration.wakeup.clone(),
    )?;
    let open = Open::new(cx.clone(), body.driver.open(cx))?;
    // The driver may have pinned memory: stop its hardware before it is dropped.
    // SAFETY: `vdev` is being opened, and `close_device` detaches before it is closed.
    unsafe { attach_parts(&open, vdev) }.inspect_err(|_| body.pins.close())?;
    // SAFETY: As above.
    unsafe { open.cx.window.attach(vdev) };
    body.migration.open(open.clone());
    // INVARIANT: This is the `open_device` callback.
    // SAFETY: By the type invariant of `Device`, nothing else accesses `open` during this callback.
    unsafe { *body.open.get() = Some(open) };
    Ok(())
}

/// Attaches the memory of each part of `open`: all of them, or none.
///
/// # Errors
///
/// Returns the error of the first that cannot be attached: EBUSY if it is attached already.
///
/// # Safety
///
/// `vdev` must be the VFIO device of `open`, which is being opened. The parts must be detached
/// before it is closed.
unsafe fn attach_parts<O: Operations>(open: &Open<O>, vdev: *mut raw::vfio_device) -> Result {
    for (attached, part) in open.parts().iter().enumerate() {
        // SAFETY: The caller guarantees that `vdev` is being opened, and that the part is detached
        // before it is closed.
        if let Err(error) = unsafe { part.attach(vdev) } {
            open.parts().iter().take(attached).for_each(Part::detach);
            let bar = part.place.bar;
            open.cx
                .report_mistake(fmt!("the memory of BAR {bar} is another part, too"));
            return Err(error);
        }
    }
    Ok(())
}
