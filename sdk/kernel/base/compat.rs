// SPDX-License-Identifier: GPL-2.0

//! What differs between the kernel series that the SDK is built for, in the words of the newest
//! one.
//!
//! `Kbuild` sets `linux_7_3` for 7.3 and later ones. Each item says until when it is needed;
//! `Documentation/kernels.md` says how a series is dropped.

/// Orders all accesses to memory before it before all after it, for other processors.
///
/// Until 7.2 is dropped: 7.3 has one function for all orderings, with the ordering as its argument.
#[inline]
pub(crate) fn smp_mb() {
    #[cfg(linux_7_3)]
    kernel::sync::barrier::smp_mb(kernel::sync::barrier::Full);
    #[cfg(not(linux_7_3))]
    kernel::sync::barrier::smp_mb();
}

// Until 7.2 is dropped: there the method that this calls has another name, and no function.
#[cfg(linux_7_3)]
pub(crate) use pin_init::raw_try_init;

/// Initializes `slot`.
///
/// # Safety
///
/// `slot` is valid for writes and not initialized, and what it points at is not moved before it is
/// dropped. After an error it may only be freed.
#[cfg(not(linux_7_3))]
#[inline]
pub(crate) unsafe fn raw_try_init<T, E>(
    slot: *mut T,
    init: impl pin_init::PinInit<T, E>,
) -> Result<(), E> {
    // SAFETY: The caller's contract is that of the method.
    unsafe { init.__pinned_init(slot) }
}

/// The value of a parameter that `module!` has declared.
///
/// Until 7.2 is dropped: there `value()` returns a reference.
///
/// # Examples
///
/// ```
/// # use kernel::module_param::ModuleParamAccess;
/// /// Returns a budget in bytes. The argument is `&module_parameters::budget_mib` for a parameter
/// /// `budget_mib` of `module!`.
/// fn budget(mib: &ModuleParamAccess<u32>) -> u64 {
///     u64::from(mdev_sdk::parameter(mib)) << 20
/// }
/// ```
#[inline]
pub fn parameter<T: Copy>(parameter: &kernel::module_param::ModuleParamAccess<T>) -> T {
    #[cfg(linux_7_3)]
    {
        parameter.value()
    }
    #[cfg(not(linux_7_3))]
    {
        *parameter.value()
    }
}

/// The module that the current crate is, as `&'static ThisModule`: what
/// [`Driver::OWNER`](crate::Driver::OWNER) wants.
///
/// Until 7.2 is dropped: there `module!` makes a static of it, from 7.3 on a constant of
/// `LocalModule`, which `#[vtable]` then names for the driver.
///
/// # Examples
///
/// [`Driver`](crate::Driver) has one.
#[cfg(linux_7_3)]
#[allow(clippy::crate_in_macro_def, reason = "the driver's crate is meant")]
#[macro_export]
macro_rules! this_module {
    () => {
        ::kernel::module::this_module::<crate::LocalModule>()
    };
}

/// The module that the current crate is, as `&'static ThisModule`: what
/// [`Driver::OWNER`](crate::Driver::OWNER) wants.
///
/// # Examples
///
/// [`Driver`](crate::Driver) has one.
#[cfg(not(linux_7_3))]
#[allow(clippy::crate_in_macro_def, reason = "the driver's crate is meant")]
#[macro_export]
macro_rules! this_module {
    () => {
        &crate::THIS_MODULE
    };
}
