// SPDX-License-Identifier: GPL-2.0

//! Registration of the driver of a kind of mdev, and of the parent devices that offer its types.
//!
//! C header: [`include/linux/mdev.h`](srctree/include/linux/mdev.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/vfio-mediated-device.html>

use super::{attributes, raw_device};
use crate::{
    base::raw,
    driver::{Driver, NewDevice},
    memory::DmaParent,
    vfio::Device,
};
use core::{
    marker::{PhantomData, PhantomPinned},
    ptr,
};
use kernel::{
    container_of,
    debugfs::Dir,
    device,
    error::to_result,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{aref::ARef, Arc},
    types::Opaque,
};

/// The registration of the driver of mdevs of kind `D`.
///
/// # Invariants
///
/// `driver` is registered.
///
/// # Examples
///
/// [`ParentRegistration`] has one.
#[pin_data(PinnedDrop)]
pub struct DriverRegistration<D: Driver> {
    #[pin]
    driver: Opaque<raw::mdev_driver>,
    /// The folder of the driver's devices in debugfs.
    debugfs: Dir,
    _kind: PhantomData<D>,
}

// SAFETY: The driver core does the locking for the driver; there is no other data.
unsafe impl<D: Driver> Send for DriverRegistration<D> {}
// SAFETY: The driver core does the locking for the driver; there is no other data.
unsafe impl<D: Driver> Sync for DriverRegistration<D> {}

impl<D: Driver> DriverRegistration<D> {
    /// Registers the driver on behalf of the module that owns `D`.
    ///
    /// # Errors
    ///
    /// Returns the error of the driver core, for instance EBUSY if the name is taken.
    pub fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: `mdev_register_driver()` succeeded if there is a value.
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(|slot: *mut raw::mdev_driver| {
                // SAFETY: `slot` is valid for writes and pinned, and the driver is unregistered on
                // drop.
                unsafe {
                    slot.write(VTable::<D>::DRIVER);
                    to_result(raw::mdev_register_driver(slot))
                }
            }),
            debugfs: Dir::new(D::NAME),
            _kind: PhantomData,
        })
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for DriverRegistration<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the driver is registered. Each parent holds a reference to
        // `self`, so no parent is left.
        unsafe { raw::mdev_unregister_driver(self.driver.get()) };
    }
}

/// A parent device and the mdev types that it offers.
///
/// Dropping it removes its mdevs, and waits until user space has closed them.
///
/// # Invariants
///
/// `parent` is registered with `types` and `pointers`, which do not change as long as it is.
///
/// # Examples
///
/// For a parent device that the driver has found itself; one without hardware is made by
/// [`module_mdev_driver!`](crate::module_mdev_driver).
///
/// ```
/// # use kernel::{device::Device, prelude::*, sync::Arc};
/// # use mdev_sdk::{Driver, DriverRegistration, ParentRegistration};
/// fn offer<D: Driver>(
///     parent: &Device,
///     data: D::Parent,
/// ) -> Result<Pin<KBox<ParentRegistration<D>>>> {
///     let driver = Arc::pin_init(DriverRegistration::new(), GFP_KERNEL)?;
///     KBox::pin_init(ParentRegistration::new(driver, parent, data), GFP_KERNEL)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub struct ParentRegistration<D: Driver> {
    #[pin]
    parent: Opaque<raw::mdev_parent>,
    /// Before `types`: a reference to an mdev that a driver stored in it must be dropped first.
    data: D::Parent,
    types: KVec<Opaque<raw::mdev_type>>,
    pointers: KVec<*mut raw::mdev_type>,
    _attributes: attributes::OfParent,
    _device: ARef<device::Device>,
    /// The hardware of the mdevs.
    hardware: Option<DmaParent>,
    driver: Arc<DriverRegistration<D>>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: mdev does the locking for the parent, the types are written only before it is registered,
// and `data` is `Send`.
unsafe impl<D: Driver> Send for ParentRegistration<D> {}
// SAFETY: As for `Send`, and `data` is `Sync`.
unsafe impl<D: Driver> Sync for ParentRegistration<D> {}

impl<D: Driver> ParentRegistration<D> {
    /// Registers `device` as a parent that offers the types of `D`; its mdevs share `data`.
    ///
    /// # Errors
    ///
    /// ENOMEM, or the error with which mdev refuses the parent.
    pub fn new(
        driver: Arc<DriverRegistration<D>>,
        device: &device::Device,
        data: D::Parent,
    ) -> impl PinInit<Self, Error> {
        Self::of(driver, device, data, None)
    }

    /// Registers `device` as [`new`](Self::new) does; guest memory that its mdevs pin for hardware
    /// is mapped for it.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    ///
    /// # Safety
    ///
    /// `device` must be bound to its driver, with its DMA mask set, until the registration is
    /// dropped.
    pub(crate) unsafe fn with_hardware(
        driver: Arc<DriverRegistration<D>>,
        device: &device::Device,
        data: D::Parent,
    ) -> impl PinInit<Self, Error> {
        // SAFETY: The drop of the registration removes its mdevs, and until then the caller
        // guarantees the rest.
        let hardware = unsafe { DmaParent::new(device) };
        Self::of(driver, device, data, Some(hardware))
    }

    fn of(
        driver: Arc<DriverRegistration<D>>,
        device: &device::Device,
        data: D::Parent,
        hardware: Option<DmaParent>,
    ) -> impl PinInit<Self, Error> {
        let device = ARef::from(device);
        // INVARIANT: `parent` is initialized last, with `types` and `pointers`.
        try_pin_init!(&this in Self {
            types: {
                let mut types = KVec::with_capacity(D::TYPES.len(), GFP_KERNEL)?;
                for ty in D::TYPES {
                    let mut raw: raw::mdev_type = pin_init::zeroed();
                    raw.sysfs_name = ty.sysfs_name.as_char_ptr();
                    raw.pretty_name = ty.name.as_char_ptr();
                    types.push(Opaque::new(raw), GFP_KERNEL)?;
                }
                types
            },
            pointers: {
                // SAFETY: `types` was initialized above and is not moved, since `this` is pinned.
                let types = unsafe { &(*this.as_ptr()).types };
                let mut pointers = KVec::with_capacity(types.len(), GFP_KERNEL)?;
                for ty in types.iter() {
                    pointers.push(ty.get(), GFP_KERNEL)?;
                }
                pointers
            },
            _attributes: attributes::OfParent::new::<D>(&device)?,
            data,
            _device: device.clone(),
            hardware,
            driver: driver.clone(),
            _pin: PhantomPinned,
            // This must come last: from here on sysfs shows the parent, and callbacks use the
            // fields above.
            parent <- {
                Opaque::try_ffi_init(move |slot: *mut raw::mdev_parent| {
                    // SAFETY: `pointers` and `data` were initialized above and are pinned with
                    // `slot`. The registration holds references to `device` and `driver`, and
                    // `driver` is registered.
                    unsafe {
                        let pointers = &raw mut (*this.as_ptr()).pointers;
                        to_result(raw::mdev_register_parent(
                            slot,
                            raw_device(&device),
                            driver.driver.get(),
                            (*pointers).as_mut_ptr(),
                            (*pointers).len() as u32,
                        ))
                    }
                })
            },
        })
    }

    /// Returns the registration that `ty` belongs to, and the index of `ty` in `D::TYPES`.
    ///
    /// # Safety
    ///
    /// `ty` must be a type of a registered parent of `D`.
    unsafe fn of_type<'a>(ty: *mut raw::mdev_type) -> (&'a Self, usize) {
        // SAFETY: The caller guarantees that `ty` is registered, and mdev sets its `parent` to the
        // `mdev_parent` with which this SDK registered it, a field of a pinned `Self`.
        let this = unsafe {
            let parent = Opaque::cast_from((*ty).parent);
            &*container_of!(parent, Self, parent)
        };
        let index = this.pointers.iter().position(|p| ptr::eq(*p, ty));
        (this, index.unwrap_or(0))
    }
}

#[pinned_drop]
impl<D: Driver> PinnedDrop for ParentRegistration<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the parent is registered.
        unsafe { raw::mdev_unregister_parent(self.parent.get()) };
    }
}

/// Returns the description of `mdev` for its driver.
///
/// # Safety
///
/// `mdev` must be an `mdev_device` that the driver of `D` is probing.
unsafe fn new_device<'a, D: Driver>(mdev: *mut raw::mdev_device) -> NewDevice<'a, D> {
    // SAFETY: The caller guarantees that `mdev` is being probed; its type and parent outlive it.
    let (parent, type_index) = unsafe { ParentRegistration::<D>::of_type((*mdev).type_) };
    NewDevice {
        parent: &parent.data,
        type_index,
    }
}

struct VTable<D: Driver>(PhantomData<D>);

impl<D: Driver> VTable<D> {
    const DRIVER: raw::mdev_driver = raw::mdev_driver {
        device_api: as_char_ptr_in_const_context(c"vfio-pci"),
        probe: Some(Self::probe),
        remove: Some(Self::remove),
        get_available: Some(Self::get_available),
        show_description: Some(Self::show_description),
        driver: raw::device_driver {
            name: as_char_ptr_in_const_context(D::NAME),
            owner: D::OWNER.as_ptr(),
            dev_groups: attributes::OfMdev::<D>::GROUPS.as_ptr(),
            ..pin_init::zeroed()
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `mdev` must be one that is being bound to the driver of `D`, and mdev must be the caller.
    unsafe extern "C" fn probe(mdev: *mut raw::mdev_device) -> c_int {
        let probe = || -> Result {
            // SAFETY: The caller guarantees that the driver of `D` is probing `mdev`.
            let new = unsafe { new_device::<D>(mdev) };
            let (driver, ty) = (D::create(&new)?, &D::TYPES[new.type_index]);
            // SAFETY: The caller guarantees that the driver of `D` is probing `mdev`; its type and
            // parent outlive it.
            unsafe {
                let (parent, _) = ParentRegistration::<D>::of_type((*mdev).type_);
                let folder = &parent.driver.debugfs;
                Device::<D>::register(&raw mut (*mdev).dev, driver, ty, folder, parent.hardware)
            }
        };
        probe().map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// `mdev` must have been probed with success and be unbound now, and mdev must be the caller.
    unsafe extern "C" fn remove(mdev: *mut raw::mdev_device) {
        // SAFETY: `probe` succeeded, so `register` did. The caller guarantees that `mdev` is being
        // unbound.
        unsafe { Device::<D>::unregister(&raw mut (*mdev).dev) };
    }

    /// # Safety
    ///
    /// `ty` must be a type of a registered parent of `D`, and mdev must be the caller.
    unsafe extern "C" fn get_available(ty: *mut raw::mdev_type) -> c_uint {
        // SAFETY: The caller guarantees that `ty` is a type of a registered parent of `D`.
        let (parent, index) = unsafe { ParentRegistration::<D>::of_type(ty) };
        D::available(&parent.data, index)
    }

    /// # Safety
    ///
    /// `ty` must be a type of a registered parent of `D`, `buf` must be a page, and mdev must be
    /// the caller.
    unsafe extern "C" fn show_description(ty: *mut raw::mdev_type, buf: *mut c_char) -> isize {
        // SAFETY: The caller guarantees that `ty` is a type of a registered parent of `D`.
        let (_, index) = unsafe { ParentRegistration::<D>::of_type(ty) };
        let description = D::TYPES[index].description;
        // SAFETY: The caller guarantees that `buf` is a page, and the format takes one C string.
        let len = unsafe { raw::sysfs_emit(buf, c"%s\n".as_char_ptr(), description.as_char_ptr()) };
        len as isize
    }
}
