// SPDX-License-Identifier: GPL-2.0

//! A parent device without hardware behind it, for drivers whose devices are software alone.
//!
//! mdev names a type after the driver of the parent device, so the parent has to have one: this is
//! a platform device bound to a platform driver that does nothing.
//!
//! C header: `include/linux/platform_device.h`

use crate::base::raw;
use core::ptr::NonNull;
use kernel::{
    device::Device,
    error::{from_err_ptr, to_result},
    prelude::*,
    types::Opaque,
};

/// A platform device `name` with a driver `driver`; sysfs shows `/sys/devices/platform/NAME`, and
/// types called `DRIVER-TYPE` once it is registered as a parent.
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

// SAFETY: The driver core locks the driver and the device; the fields are never written again.
unsafe impl Send for VirtualParent {}
// SAFETY: As above.
unsafe impl Sync for VirtualParent {}

impl VirtualParent {
    /// Registers the device and its driver on behalf of `owner`.
    pub fn new(
        owner: &'static ThisModule,
        name: &'static CStr,
        driver: &'static CStr,
    ) -> impl PinInit<Self, Error> {
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
                // SAFETY: `slot` is valid for writes; `ids` was initialised before and is pinned
                // next to `driver`, which is unregistered before either goes.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).driver.name = driver.as_char_ptr();
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
                    // SAFETY: `driver` was registered just above.
                    unsafe {
                        raw::platform_driver_unregister(Opaque::cast_into(
                            &raw const (*this.as_ptr()).driver,
                        ))
                    }
                })?;
                // SAFETY: Not an error, hence a device.
                unsafe { NonNull::new_unchecked(device) }
            },
        })
    }

    /// The device that mdevs hang off.
    pub fn device(&self) -> &Device {
        // SAFETY: By the type invariant the device is registered as long as `self` lives.
        unsafe { Device::from_raw(&raw mut (*self.device.as_ptr()).dev) }
    }
}

#[pinned_drop]
impl PinnedDrop for VirtualParent {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant both are registered; neither is used after this.
        unsafe {
            raw::platform_device_unregister(self.device.as_ptr());
            raw::platform_driver_unregister(self.driver.get());
        }
    }
}
