// SPDX-License-Identifier: GPL-2.0

//! The interrupt of a parent.
//!
//! The kernel crate's registrations differ between the supported series, and the newest one's must
//! not be leaked, which it leaves to `unsafe` code of the driver. Here the function owns it.
//!
//! C header: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h)

use crate::base::{compat, raw};
use core::{marker::PhantomPinned, ptr::NonNull};
use kernel::{
    device::{Bound, Device},
    devres,
    error::to_result,
    prelude::*,
};

/// The interrupt vectors of a function.
///
/// # Invariants
///
/// They are allocated for the function, which is bound.
struct Vectors(NonNull<raw::pci_dev>);

// SAFETY: The PCI core does the locking.
unsafe impl Send for Vectors {}

impl Drop for Vectors {
    fn drop(&mut self) {
        // SAFETY: By the type invariant they are allocated. The handler was registered after them,
        // so it is gone.
        unsafe { raw::pci_free_irq_vectors(self.0.as_ptr()) };
    }
}

/// A handler that is called in the interrupt's thread.
///
/// # Invariants
///
/// It is registered for `irq`, with the address of `self`, which is pinned.
#[pin_data(PinnedDrop)]
struct Handler<F: Fn() -> bool + Send + Sync + 'static> {
    irq: c_uint,
    handle: F,
    #[pin]
    _pin: PhantomPinned,
}

impl<F: Fn() -> bool + Send + Sync + 'static> Handler<F> {
    fn new(irq: c_uint, name: &'static CStr, handle: F) -> impl PinInit<Self, Error> {
        // INVARIANT: The registration comes last.
        try_pin_init!(&this in Self {
            irq,
            handle,
            _pin: PhantomPinned,
            _: {
                // SAFETY: The callback takes `this`, which is initialized and pinned, and the drop
                // unregisters it.
                to_result(unsafe {
                    raw::request_threaded_irq(
                        *irq,
                        None,
                        Some(Self::run),
                        (raw::IRQF_ONESHOT | raw::IRQF_SHARED) as c_ulong,
                        name.as_char_ptr(),
                        this.as_ptr().cast(),
                    )
                })?;
            },
        })
    }

    /// # Safety
    ///
    /// The interrupt's thread must be the caller, with the cookie of a registered `Self`.
    unsafe extern "C" fn run(_irq: c_int, cookie: *mut c_void) -> raw::irqreturn_t {
        // SAFETY: The caller guarantees that this is a registered handler.
        let handled = (unsafe { &*cookie.cast::<Self>() }.handle)();
        compat::irq_return(handled)
    }
}

#[pinned_drop]
impl<F: Fn() -> bool + Send + Sync + 'static> PinnedDrop for Handler<F> {
    fn drop(self: Pin<&mut Self>) {
        let cookie = (&raw const *self).cast_mut();
        // SAFETY: By the type invariant it is registered with its address. The function waits for
        // the handler.
        unsafe { raw::free_irq(self.irq, cookie.cast()) };
    }
}

/// Has `handle` called after each interrupt of the function, until that is unbound.
pub(super) fn handle(
    function: NonNull<raw::pci_dev>,
    device: &Device<Bound>,
    name: &'static CStr,
    handle: impl Fn() -> bool + Send + Sync + 'static,
) -> Result {
    let types = raw::PCI_IRQ_MSIX | raw::PCI_IRQ_MSI | raw::PCI_IRQ_INTX;
    // SAFETY: `function` is bound.
    to_result(unsafe { raw::pci_alloc_irq_vectors(function.as_ptr(), 1, 1, types) })?;
    // INVARIANT: They were just allocated.
    devres::register(device, Vectors(function), GFP_KERNEL)?;
    // SAFETY: `function` is bound.
    let irq = unsafe { raw::pci_irq_vector(function.as_ptr(), 0) };
    to_result(irq)?;
    devres::register(
        device,
        Handler::new(irq as c_uint, name, handle),
        GFP_KERNEL,
    )
}
