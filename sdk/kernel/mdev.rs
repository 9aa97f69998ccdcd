// SPDX-License-Identifier: GPL-2.0

//! Registration: the driver of a kind of mdev, and the parent devices that offer types of it.
//!
//! C header: `include/linux/mdev.h`

use crate::{
    device::{Device, Slot},
    raw,
};
use core::{
    marker::{PhantomData, PhantomPinned},
    ptr,
};
use kernel::{
    container_of, device,
    error::to_result,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{aref::ARef, Arc},
    types::Opaque,
};

/// A type of mdev that a parent offers; sysfs shows it below `mdev_supported_types`.
pub struct Type {
    /// The last part of the type's directory name; the first is the name of the parent's driver.
    pub sysfs_name: &'static CStr,
    /// `name` in sysfs: what management tools show.
    pub name: &'static CStr,
    /// `description` in sysfs: one line.
    pub description: &'static CStr,
}

/// The driver of mdevs of kind `T`.
///
/// # Invariants
///
/// `driver` is registered.
#[pin_data(PinnedDrop)]
pub struct DriverRegistration<T: Device> {
    #[pin]
    driver: Opaque<raw::mdev_driver>,
    _kind: PhantomData<T>,
}

// SAFETY: The driver core locks the driver; nothing else is in here.
unsafe impl<T: Device> Send for DriverRegistration<T> {}
// SAFETY: As above.
unsafe impl<T: Device> Sync for DriverRegistration<T> {}

impl<T: Device> DriverRegistration<T> {
    /// Registers the driver on behalf of the module that owns `T`.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(|slot: *mut raw::mdev_driver| {
                // SAFETY: `slot` is valid for writes and pinned; it is unregistered on drop.
                unsafe {
                    slot.write(Callbacks::<T>::DRIVER);
                    to_result(raw::mdev_register_driver(slot))
                }
            }),
            _kind: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: Device> PinnedDrop for DriverRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. Every parent holds a reference to `self`, so none is left.
        unsafe { raw::mdev_unregister_driver(self.driver.get()) };
    }
}

/// A parent device and the mdev types it offers.
///
/// Dropping it removes its mdevs, which waits until user space has closed them.
///
/// # Invariants
///
/// `parent` is registered; `types` and `pointers` are what it was registered with.
#[pin_data(PinnedDrop)]
pub struct ParentRegistration<T: Device> {
    #[pin]
    parent: Opaque<raw::mdev_parent>,
    /// Before the types: a reference to an mdev that a driver put in here goes first.
    data: T::Parent,
    types: KVec<Opaque<raw::mdev_type>>,
    pointers: KVec<*mut raw::mdev_type>,
    _device: ARef<device::Device>,
    _driver: Arc<DriverRegistration<T>>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: mdev locks the parent; the types are written only while registering; `data` is Send.
unsafe impl<T: Device> Send for ParentRegistration<T> {}
// SAFETY: As above, and `data` is Sync.
unsafe impl<T: Device> Sync for ParentRegistration<T> {}

impl<T: Device> ParentRegistration<T> {
    /// Offers the types of `T` on `device`; `data` is what all its mdevs share.
    pub fn new(
        driver: Arc<DriverRegistration<T>>,
        device: &device::Device,
        data: T::Parent,
    ) -> impl PinInit<Self, Error> {
        let device = ARef::from(device);
        try_pin_init!(&this in Self {
            types: {
                let mut types = KVec::with_capacity(T::TYPES.len(), GFP_KERNEL)?;
                for ty in T::TYPES {
                    let mut raw: raw::mdev_type = pin_init::zeroed();
                    raw.sysfs_name = ty.sysfs_name.as_char_ptr();
                    raw.pretty_name = ty.name.as_char_ptr();
                    types.push(Opaque::new(raw), GFP_KERNEL)?;
                }
                types
            },
            pointers: {
                // SAFETY: `types` was initialised just above and is not moved: `this` is pinned.
                let types = unsafe { &(*this.as_ptr()).types };
                let mut pointers = KVec::with_capacity(types.len(), GFP_KERNEL)?;
                for ty in types.iter() {
                    pointers.push(ty.get(), GFP_KERNEL)?;
                }
                pointers
            },
            data,
            _pin: PhantomPinned,
            parent <- {
                let (driver, device) = (driver.clone(), device.clone());
                Opaque::try_ffi_init(move |slot: *mut raw::mdev_parent| {
                    // SAFETY: `pointers` and `data` were initialised above and are pinned with
                    // `slot`; the registration holds a reference to `device` and to `driver`, which
                    // is registered.
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
            _device: device,
            _driver: driver,
        })
    }

    /// The registration that `ty` belongs to, and the index of `ty` in `T::TYPES`.
    ///
    /// # Safety
    ///
    /// `ty` is a type of a registered parent of `T`.
    unsafe fn of_type<'a>(ty: *mut raw::mdev_type) -> (&'a Self, usize) {
        // SAFETY: mdev sets `parent` of a registered type to the `mdev_parent` that this SDK
        // registered, which is a field of a pinned `Self`.
        let this = unsafe {
            let parent = Opaque::cast_from((*ty).parent);
            &*container_of!(parent, Self, parent)
        };
        let index = this.pointers.iter().position(|p| ptr::eq(*p, ty));
        (this, index.unwrap_or(0))
    }
}

#[pinned_drop]
impl<T: Device> PinnedDrop for ParentRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant.
        unsafe { raw::mdev_unregister_parent(self.parent.get()) };
    }
}

/// The `struct device` behind the kernel crate's type.
pub(crate) fn raw_device(dev: &device::Device) -> *mut raw::device {
    ptr::from_ref(dev).cast_mut().cast()
}

/// What a driver learns about the mdev that is being created.
pub struct NewDevice<'a, T: Device> {
    /// What all mdevs of the parent share.
    pub parent: &'a T::Parent,
    /// Index in [`Device::TYPES`].
    pub type_index: usize,
}

impl<T: Device> NewDevice<'_, T> {
    /// # Safety
    ///
    /// `dev` is the `struct device` of an `mdev_device` that is being probed by the driver of `T`.
    pub(crate) unsafe fn of(dev: *mut raw::device) -> Self {
        // SAFETY: By the function's contract; the type and its parent outlive the mdev.
        unsafe {
            let mdev: *mut raw::mdev_device = container_of!(dev, raw::mdev_device, dev);
            let (parent, type_index) = ParentRegistration::<T>::of_type((*mdev).type_);
            NewDevice {
                parent: &parent.data,
                type_index,
            }
        }
    }
}

struct Callbacks<T: Device>(PhantomData<T>);

impl<T: Device> Callbacks<T> {
    const DRIVER: raw::mdev_driver = raw::mdev_driver {
        device_api: as_char_ptr_in_const_context(c"vfio-pci"),
        probe: Some(Self::probe),
        remove: Some(Self::remove),
        get_available: Some(Self::get_available),
        show_description: Some(Self::show_description),
        driver: raw::device_driver {
            name: as_char_ptr_in_const_context(T::NAME),
            owner: T::OWNER.as_ptr(),
            ..pin_init::zeroed()
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `mdev` is being bound to the driver of `T`.
    unsafe extern "C" fn probe(mdev: *mut raw::mdev_device) -> c_int {
        // SAFETY: By the function's contract.
        match unsafe { Slot::<T>::register(&raw mut (*mdev).dev) } {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// `mdev` was probed with success and is being unbound.
    unsafe extern "C" fn remove(mdev: *mut raw::mdev_device) {
        // SAFETY: By the function's contract.
        unsafe { Slot::<T>::unregister(&raw mut (*mdev).dev) };
    }

    /// # Safety
    ///
    /// `ty` is a type of a registered parent of `T`.
    unsafe extern "C" fn get_available(ty: *mut raw::mdev_type) -> c_uint {
        // SAFETY: By the function's contract.
        let (parent, index) = unsafe { ParentRegistration::<T>::of_type(ty) };
        T::available(&parent.data, index)
    }

    /// # Safety
    ///
    /// `ty` is a type of a registered parent of `T`, `buf` a page.
    unsafe extern "C" fn show_description(ty: *mut raw::mdev_type, buf: *mut c_char) -> isize {
        // SAFETY: By the function's contract.
        let (_, index) = unsafe { ParentRegistration::<T>::of_type(ty) };
        let description = T::TYPES[index].description;
        // SAFETY: sysfs hands in a page; the format takes one C string.
        let len = unsafe { raw::sysfs_emit(buf, c"%s\n".as_char_ptr(), description.as_char_ptr()) };
        len as isize
    }
}
