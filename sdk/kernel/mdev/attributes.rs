// SPDX-License-Identifier: GPL-2.0

//! Attributes in sysfs that tell, before a migration begins, whether a destination would load what
//! a source would save. Documentation/ABI/testing/sysfs-bus-mdev-migration describes them.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use super::own_attributes::OfDriver;
use crate::{
    base::raw,
    driver::{crc32c, new_config, Codec, Driver, Migrate, Type},
    vfio::Device,
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::{self, from_ref},
};
use kernel::{
    device,
    error::to_result,
    fmt,
    prelude::*,
    str::{as_char_ptr_in_const_context, CString},
    sync::aref::ARef,
};
use mdev_model::stream::Compatibility;

/// A callback that fills a page with the value of an attribute.
type Show =
    unsafe extern "C" fn(*mut raw::device, *mut raw::device_attribute, *mut c_char) -> isize;

/// Returns what devices of type `ty` compare; `None` if their streams have no match data.
///
/// # Errors
///
/// ENOMEM.
fn compatibility<D: Driver>(ty: &Type) -> Result<Option<Compatibility>> {
    if ty.codec != Codec::Records {
        return Ok(None);
    }
    let format = &<D::Open as Migrate>::FORMAT;
    let config = new_config(&ty.identity)?.identity_checksum(crc32c);
    Ok(Some(Compatibility::new(
        format,
        ty.kind,
        ty.geometry,
        config,
    )))
}

/// Writes the value of an attribute to `page`, and returns its length; a negative errno if there is
/// an error instead.
///
/// # Safety
///
/// `page` must be the page that sysfs passes to a [`Show`].
pub(super) unsafe fn emit(page: *mut c_char, value: Result<fmt::Arguments<'_>>) -> isize {
    let value = match value {
        Ok(value) => value,
        Err(error) => return error.to_errno() as isize,
    };
    // SAFETY: The caller guarantees that `page` is a page. `%pA` takes a `fmt::Arguments`.
    let len = unsafe {
        raw::sysfs_emit(
            page,
            c"%pA".as_char_ptr(),
            (&raw const value).cast::<c_void>(),
        )
    };
    len as isize
}

/// As [`emit`], for match data; ENODATA without any.
///
/// # Safety
///
/// As for [`emit`].
unsafe fn emit_match_data(page: *mut c_char, data: Result<Option<Compatibility>>) -> isize {
    match data.and_then(|data| data.ok_or(raw::error(raw::ENODATA))) {
        // SAFETY: As guaranteed by the caller.
        Ok(data) => unsafe { emit(page, Ok(format_args!("{data}"))) },
        // SAFETY: As guaranteed by the caller.
        Err(error) => unsafe { emit(page, Err(error)) },
    }
}

/// Returns a read-only attribute; `name` must live as long as it.
pub(super) const fn attribute(name: *const c_char, show: Show) -> raw::device_attribute {
    const { assert!(offset_of!(raw::device_attribute, attr) == 0) };
    let mut new: raw::device_attribute = pin_init::zeroed();
    new.attr.name = name;
    new.attr.mode = 0o444;
    new.__bindgen_anon_1.show = Some(show);
    new
}

/// Returns an attribute that is not in a static, so that lockdep has no key for it.
#[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
fn without_lockdep(mut attribute: raw::device_attribute) -> raw::device_attribute {
    attribute.attr.set_ignore_lockdep(true);
    attribute
}

#[cfg(not(CONFIG_DEBUG_LOCK_ALLOC))]
fn without_lockdep(attribute: raw::device_attribute) -> raw::device_attribute {
    attribute
}

/// Returns a folder `name` of the attributes up to a null; both must live as long as it.
pub(super) const fn group(
    name: *const c_char,
    attributes: *const *const raw::attribute,
) -> raw::attribute_group {
    let mut new: raw::attribute_group = pin_init::zeroed();
    new.name = name;
    new.__bindgen_anon_2.attrs_const = attributes;
    new
}

/// The folder `migration` of an mdev of `D`, and that of the driver's own attributes.
pub(super) struct OfMdev<D: Driver>(PhantomData<D>);

impl<D: Driver> OfMdev<D> {
    /// The value of `dev_groups` of the mdev driver: the driver core adds them after `probe` and
    /// removes them before `remove`.
    pub(super) const GROUPS: &'static [*const raw::attribute_group; 3] =
        &[from_ref(Self::GROUP), OfDriver::<D>::GROUP, ptr::null()];

    const GROUP: &'static raw::attribute_group = &group(
        as_char_ptr_in_const_context(c"migration"),
        Self::ATTRIBUTES.as_ptr(),
    );

    const ATTRIBUTES: &'static [*const raw::attribute; 3] = &[
        from_ref(Self::MATCH_DATA).cast(),
        from_ref(Self::STOP_COPY_SIZE).cast(),
        ptr::null(),
    ];

    const MATCH_DATA: &'static raw::device_attribute = &attribute(
        as_char_ptr_in_const_context(c"match_data"),
        Self::show_match_data,
    );

    const STOP_COPY_SIZE: &'static raw::device_attribute = &attribute(
        as_char_ptr_in_const_context(c"stop_copy_size"),
        Self::show_stop_copy_size,
    );

    /// # Safety
    ///
    /// `dev` must be an mdev that is bound to the driver of `D`, and sysfs must be the caller.
    unsafe extern "C" fn show_match_data(
        dev: *mut raw::device,
        _: *mut raw::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        let ty = unsafe { Device::<D>::type_of_mdev(dev) };
        // SAFETY: sysfs has passed the page.
        unsafe { emit_match_data(page, compatibility::<D>(ty)) }
    }

    /// # Safety
    ///
    /// `dev` must be an mdev that is bound to the driver of `D`, and sysfs must be the caller.
    unsafe extern "C" fn show_stop_copy_size(
        dev: *mut raw::device,
        _: *mut raw::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The caller guarantees that `dev` is bound to the driver of `D`.
        let size = unsafe { Device::<D>::stop_copy_length_of_mdev(dev) };
        match size {
            // SAFETY: sysfs has passed the page.
            Ok(size) => unsafe { emit(page, Ok(format_args!("{size}\n"))) },
            // SAFETY: sysfs has passed the page.
            Err(error) => unsafe { emit(page, Err(error)) },
        }
    }
}

/// The match data of one type.
#[repr(C)]
struct File {
    attribute: raw::device_attribute,
    data: Option<Compatibility>,
    name: CString,
}

impl File {
    fn new<D: Driver>(driver: &CStr, ty: &Type) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("{driver}-{}", ty.sysfs_name))?;
        Ok(File {
            attribute: without_lockdep(attribute(name.as_char_ptr(), Self::show)),
            data: compatibility::<D>(ty)?,
            name,
        })
    }

    /// # Safety
    ///
    /// `attribute` must be that of a live `File`, and sysfs must be the caller.
    unsafe extern "C" fn show(
        _: *mut raw::device,
        attribute: *mut raw::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: The caller guarantees that this is the first field of a live `File`.
        let file = unsafe { &*attribute.cast::<File>() };
        // SAFETY: sysfs has passed the page.
        unsafe { emit_match_data(page, Ok(file.data)) }
    }
}

/// The folder `match_data` of a parent device, with a file for each of its types.
///
/// # Invariants
///
/// sysfs has `group`, which refers to `pointers`, and those to `files`; none of them changes.
pub(super) struct OfParent {
    device: ARef<device::Device>,
    group: KBox<raw::attribute_group>,
    _pointers: KVec<*const raw::attribute>,
    _files: KVec<File>,
}

// SAFETY: The pointers are to what `self` owns and never changes.
unsafe impl Send for OfParent {}
// SAFETY: As for `Send`.
unsafe impl Sync for OfParent {}

impl OfParent {
    /// Adds the folder to `device`, whose driver is the first part of the types' names.
    ///
    /// # Errors
    ///
    /// ENOMEM, or the error of sysfs.
    pub(super) fn new<D: Driver>(device: &device::Device) -> Result<Self> {
        // SAFETY: The device is registered and bound, so its driver has a name that outlives this.
        let driver =
            unsafe { CStr::from_char_ptr(raw::dev_driver_string(super::raw_device(device))) };
        let mut files = KVec::with_capacity(D::TYPES.len(), GFP_KERNEL)?;
        for ty in D::TYPES {
            files.push(File::new::<D>(driver, ty)?, GFP_KERNEL)?;
        }
        let mut pointers = KVec::with_capacity(files.len() + 1, GFP_KERNEL)?;
        for file in &files {
            pointers.push(from_ref(file).cast(), GFP_KERNEL)?;
        }
        pointers.push(ptr::null(), GFP_KERNEL)?;
        let name = as_char_ptr_in_const_context(c"match_data");
        let group = KBox::new(group(name, pointers.as_ptr()), GFP_KERNEL)?;
        // INVARIANT: sysfs gets the group here.
        // SAFETY: The device is registered. The group is removed before `self`, which owns all that
        // it refers to on the heap, is gone.
        to_result(unsafe { raw::sysfs_create_group(kobject(device), &*group) })?;
        Ok(OfParent {
            device: device.into(),
            group,
            _pointers: pointers,
            _files: files,
        })
    }
}

impl Drop for OfParent {
    fn drop(&mut self) {
        // SAFETY: By the type invariant sysfs has the group. The function waits for its readers.
        unsafe { raw::sysfs_remove_group(kobject(&self.device), &*self.group) };
    }
}

fn kobject(device: &device::Device) -> *mut raw::kobject {
    // SAFETY: A reference to a device is valid, and only its address is taken.
    unsafe { &raw mut (*super::raw_device(device)).kobj }
}
