// SPDX-License-Identifier: GPL-2.0

//! A parent device without hardware, for drivers whose devices are software alone.
//!
//! mdev prefixes a type's name with that of the parent's driver, so the parent must have one. This
//! is a platform device, bound to a platform driver that does nothing.
//!
//! C header: [`include/linux/platform_device.h`](srctree/include/linux/platform_device.h)

use crate::base::raw;
use core::ptr::NonNull;
use kernel::{
    device::Device,
    error::{from_err_ptr, to_result},
    prelude::*,
    types::Opaque,
};

/// A platform device and its driver, for use as the parent of mdevs.
///
/// sysfs shows the device as `/sys/devices/platform/NAME`. Once it is a parent, its types are
/// called `DRIVER-TYPE`.
///
/// # Invariants
///
/// `driver` and `device` are registered, and `device` was registered after `driver`.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::VirtualParent;
/// fn parent(module: &'static ThisModule) -> Result<Pin<KBox<VirtualParent>>> {
///     let parent = KBox::pin_init(
///         VirtualParent::new(module, c"my_parent", c"my"),
///         GFP_KERNEL,
///     )?;
///     dev_info!(parent.device(), "offers types called my-TYPE\n");
///     Ok(parent)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub struct VirtualParent {
    #[pin]
    ids: Opaque<[raw::platform_device_id; 2]>,
    #[pin]
    driver: Opaque<raw::platform_driver>,
    device: NonNull<raw::platform_device>,
}

// SAFETY: The driver core does the locking for driver and device; the fields are never written
// again.
unsafe impl Send for VirtualParent {}
// SAFETY: The driver core does the locking for driver and device; the fields are never written
// again.
unsafe impl Sync for VirtualParent {}

impl VirtualParent {
    /// Registers a device `name` and its driver `driver` on behalf of `owner`.
    ///
    /// # Errors
    ///
    /// ENAMETOOLONG if `name` and its NUL do not fit into a platform device ID
    /// (`PLATFORM_NAME_SIZE`); else the error of the driver core, for instance EBUSY if the name of
    /// the driver is taken.
    pub fn new(
        owner: &'static ThisModule,
        name: &'static CStr,
        driver: &'static CStr,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: `driver` and then `device` are registered; if `device` fails, so does the
        // whole.
        try_pin_init!(&this in Self {
            ids <- Opaque::try_ffi_init(move |slot: *mut [raw::platform_device_id; 2]| {
                let mut ids: [raw::platform_device_id; 2] = pin_init::zeroed();
                let bytes = name.to_bytes_with_nul();
                if bytes.len() > ids[0].name.len() {
                    return Err(raw::error(raw::ENAMETOOLONG));
                }
                for (to, from) in ids[0].name.iter_mut().zip(bytes) {
                    *to = *from;
                }
                // SAFETY: `slot` is valid for writes.
                unsafe { slot.write(ids) };
                Ok(())
            }),
            driver <- Opaque::try_ffi_init(move |slot: *mut raw::platform_driver| {
                // SAFETY: `slot` is valid for writes. `ids` was initialized above and is pinned
                // with `driver`, and the driver is unregistered before either is dropped.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).driver.name = driver.as_char_ptr();
                    // mdev names the types after the driver that is bound at the registration.
                    (*slot).driver.probe_type = raw::probe_type_PROBE_FORCE_SYNCHRONOUS;
                    (*slot).id_table = Opaque::cast_into(&raw const (*this.as_ptr()).ids).cast();
                    to_result(raw::__platform_driver_register(
                        slot,
                        owner.as_ptr(),
                        driver.as_char_ptr(),
                    ))
                }
            }),
            device: {
                // SAFETY: `name` is a C string.
                let device = from_err_ptr(unsafe {
                    raw::platform_device_register_simple(name.as_char_ptr())
                })
                .inspect_err(|_| {
                    // SAFETY: `driver` was registered above, and is not used after this.
                    unsafe {
                        raw::platform_driver_unregister(Opaque::cast_into(
                            &raw const (*this.as_ptr()).driver,
                        ))
                    }
                })?;
                // SAFETY: The pointer is not an error, so it is a device.
                unsafe { NonNull::new_unchecked(device) }
            },
        })
    }

    /// Returns the device, for [`ParentRegistration::new`](crate::ParentRegistration::new).
    pub fn device(&self) -> &Device {
        // SAFETY: By the type invariant the device is registered while `self` lives.
        unsafe { Device::from_raw(&raw mut (*self.device.as_ptr()).dev) }
    }
}

#[pinned_drop]
impl PinnedDrop for VirtualParent {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant both are registered, and they are not used after this.
        unsafe {
            raw::platform_device_unregister(self.device.as_ptr());
            raw::platform_driver_unregister(self.driver.get());
        }
    }
}
