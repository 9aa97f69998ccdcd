// SPDX-License-Identifier: GPL-2.0

//! The attributes in sysfs that a driver defines for its mdevs: `Driver::ATTRIBUTES`.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use super::attributes::{attribute, emit, group};
use crate::{
    base::raw,
    driver::{Attribute, Driver, MOST_ATTRIBUTES as MOST},
    vfio::Device,
};
use core::{
    marker::PhantomData,
    ptr::{self, from_ref},
    slice, str,
};
use kernel::{fmt, prelude::*, str::as_char_ptr_in_const_context};

/// An attribute as sysfs has it, and its index in `Driver::ATTRIBUTES`.
#[repr(C)]
struct File {
    attribute: raw::device_attribute,
    index: usize,
}

/// The value of an attribute.
struct Value<'a, D>(&'a D, &'a Attribute<D>);

impl<D> fmt::Display for Value<'_, D> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.1.show)(self.0, out)
    }
}

/// The folder of the attributes that `D` defines.
pub(super) struct OfDriver<D: Driver>(PhantomData<D>);

impl<D: Driver> OfDriver<D> {
    /// The folder; null if there is no attribute.
    pub(super) const GROUP: *const raw::attribute_group = match D::ATTRIBUTES {
        [] => ptr::null(),
        _ => from_ref(Self::FOLDER),
    };

    const FOLDER: &'static raw::attribute_group = &group(
        as_char_ptr_in_const_context(D::NAME),
        Self::POINTERS.as_ptr(),
    );

    const POINTERS: &'static [*const raw::attribute; MOST + 1] = &{
        let mut pointers = [ptr::null(); MOST + 1];
        let mut index = 0;
        while index < D::ATTRIBUTES.len() {
            pointers[index] = from_ref(&Self::FILES[index]).cast();
            index += 1;
        }
        pointers
    };

    const FILES: &'static [File; MOST] = &{
        assert!(
            D::ATTRIBUTES.len() <= MOST,
            "a driver has at most 32 attributes"
        );
        let mut files = [const {
            File {
                attribute: pin_init::zeroed(),
                index: 0,
            }
        }; MOST];
        let mut index = 0;
        while index < D::ATTRIBUTES.len() {
            let own = &D::ATTRIBUTES[index];
            let name = as_char_ptr_in_const_context(own.name);
            files[index].attribute = attribute(name, Self::show);
            if own.store.is_some() {
                files[index].attribute.attr.mode = 0o644;
                files[index].attribute.__bindgen_anon_2.store = Some(Self::store);
            }
            files[index].index = index;
            index += 1;
        }
        files
    };

    /// Returns the mdev of `dev`, and its attribute.
    ///
    /// # Safety
    ///
    /// `dev` must be an mdev that is bound to the driver of `D` for `'a`, and `attribute` that of
    /// one of [`FILES`](Self::FILES).
    unsafe fn of<'a>(
        dev: *mut raw::device,
        attribute: *mut raw::device_attribute,
    ) -> (&'a D, &'static Attribute<D>) {
        // SAFETY: The caller guarantees that this is the first field of a `File`.
        let index = unsafe { (*attribute.cast::<File>()).index };
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        let driver = unsafe { Device::<D>::driver_of_mdev(dev) };
        (driver, &D::ATTRIBUTES[index])
    }

    /// # Safety
    ///
    /// `dev` must be an mdev that is bound to the driver of `D`, and sysfs must be the caller.
    unsafe extern "C" fn show(
        dev: *mut raw::device,
        attribute: *mut raw::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The caller guarantees the device; sysfs has the attribute from `FILES`. The
        // driver core removes the files before it unbinds the device.
        let (driver, attribute) = unsafe { Self::of(dev, attribute) };
        let value = Value(driver, attribute);
        // SAFETY: sysfs has passed the page.
        unsafe { emit(page, Ok(fmt!("{value}\n"))) }
    }

    /// # Safety
    ///
    /// As for [`show`](Self::show).
    unsafe extern "C" fn store(
        dev: *mut raw::device,
        attribute: *mut raw::device_attribute,
        text: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: As in `show`.
        let (driver, attribute) = unsafe { Self::of(dev, attribute) };
        // SAFETY: sysfs passes a buffer of so many bytes.
        let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
        let stored = match (str::from_utf8(bytes), attribute.store) {
            (Ok(text), Some(store)) => store(driver, text.strip_suffix('\n').unwrap_or(text)),
            _ => Err(EINVAL),
        };
        stored.map_or_else(|error| error.to_errno() as isize, |()| len as isize)
    }
}
