// SPDX-License-Identifier: GPL-2.0

//! Differences between the kernel series that the SDK supports, in the terms of the newest one.
//!
//! `Kbuild` sets `linux_7_3` for 7.3 and later. Each item names the series until which it is
//! needed; `Documentation/kernels.md` says how to drop a series.

/// Orders all memory accesses before it against all memory accesses after it, as seen by other
/// processors.
///
/// Needed until 7.2 is dropped: 7.3 has one function for all orderings, and takes the ordering as
/// its argument.
///
/// C counterpart: `smp_mb()` in
/// [`include/asm-generic/barrier.h`](srctree/include/asm-generic/barrier.h)
#[inline]
pub(crate) fn smp_mb() {
    #[cfg(linux_7_3)]
    kernel::sync::barrier::smp_mb(kernel::sync::barrier::Full);
    #[cfg(not(linux_7_3))]
    kernel::sync::barrier::smp_mb();
}

// Needed until 7.2 is dropped: there this is a method, with another name.
#[cfg(linux_7_3)]
pub(crate) use pin_init::raw_try_init;

/// Initializes `slot` in place.
///
/// # Errors
///
/// Returns the error of `init`. The memory of `slot` may then only be freed.
///
/// # Safety
///
/// `slot` must be valid for writes and not initialized. What it points at must not be moved before
/// it is dropped.
#[cfg(not(linux_7_3))]
#[inline]
pub(crate) unsafe fn raw_try_init<T, E>(
    slot: *mut T,
    init: impl pin_init::PinInit<T, E>,
) -> Result<(), E> {
    // SAFETY: The caller guarantees that `slot` is valid, uninitialized and pinned, as the method
    // requires.
    unsafe { init.__pinned_init(slot) }
}

/// A BAR that ends with the binding of its function.
///
/// Needed until 7.2 is dropped: there it has no name of its own.
#[cfg(linux_7_3)]
pub(crate) type DevresBar = kernel::pci::DevresBar;
#[cfg(not(linux_7_3))]
pub(crate) type DevresBar = kernel::devres::Devres<kernel::pci::Bar<'static>>;

/// Returns `IRQ_HANDLED` or `IRQ_NONE`.
///
/// Needed until 7.2 is dropped: there the type is an integer.
#[inline]
pub(crate) fn irq_return(is_handled: bool) -> super::raw::irqreturn_t {
    let value = kernel::ffi::c_uint::from(is_handled);
    #[cfg(linux_7_3)]
    {
        super::raw::irqreturn_t(value)
    }
    #[cfg(not(linux_7_3))]
    {
        value
    }
}

/// Returns the value of a parameter that `module!` declares.
///
/// Needed until 7.2 is dropped: there `value()` returns a reference.
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

/// Returns the module of the current crate as `&'static ThisModule`, for
/// [`Driver::OWNER`](crate::Driver::OWNER).
///
/// Needed until 7.2 is dropped: there `module!` makes it a static. From 7.3 on it is a constant of
/// `LocalModule`, and `#[vtable]` names that type for the driver.
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

/// Returns the module of the current crate as `&'static ThisModule`, for
/// [`Driver::OWNER`](crate::Driver::OWNER).
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
