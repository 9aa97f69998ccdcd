// SPDX-License-Identifier: GPL-2.0

//! The interrupts of a parent.
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
    sync::Arc,
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

/// A handler of one vector, which is called in the interrupt's thread.
///
/// # Invariants
///
/// It is registered for `irq`, with the address of `self`, which is pinned.
#[pin_data(PinnedDrop)]
struct Handler<F: Fn(usize) -> bool + Send + Sync + 'static> {
    irq: c_uint,
    vector: usize,
    handle: Arc<F>,
    #[pin]
    _pin: PhantomPinned,
}

impl<F: Fn(usize) -> bool + Send + Sync + 'static> Handler<F> {
    fn new(
        irq: c_uint,
        vector: usize,
        name: &'static CStr,
        handle: Arc<F>,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: The registration comes last.
        try_pin_init!(&this in Self {
            irq,
            vector,
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
        let this = unsafe { &*cookie.cast::<Self>() };
        compat::irq_return((this.handle)(this.vector))
    }
}

#[pinned_drop]
impl<F: Fn(usize) -> bool + Send + Sync + 'static> PinnedDrop for Handler<F> {
    fn drop(self: Pin<&mut Self>) {
        let cookie = (&raw const *self).cast_mut();
        // SAFETY: By the type invariant it is registered with its address. The function waits for
        // the handler.
        unsafe { raw::free_irq(self.irq, cookie.cast()) };
    }
}

/// Has `handle(vector)` called after each interrupt of one of `count` vectors of the function,
/// until that is unbound. One vector may be INTx.
pub(super) fn handle(
    function: NonNull<raw::pci_dev>,
    device: &Device<Bound>,
    name: &'static CStr,
    count: u32,
    handle: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> Result {
    let messages = raw::PCI_IRQ_MSIX | raw::PCI_IRQ_MSI;
    let types = match count {
        1 => messages | raw::PCI_IRQ_INTX,
        _ => messages,
    };
    // SAFETY: `function` is bound.
    to_result(unsafe { raw::pci_alloc_irq_vectors(function.as_ptr(), count, count, types) })?;
    // INVARIANT: They were just allocated.
    devres::register(device, Vectors(function), GFP_KERNEL)?;
    let handle = Arc::new(handle, GFP_KERNEL)?;
    for vector in 0..count {
        // SAFETY: `function` is bound.
        let irq = unsafe { raw::pci_irq_vector(function.as_ptr(), vector) };
        to_result(irq)?;
        let handler = Handler::new(irq as c_uint, vector as usize, name, handle.clone());
        devres::register(device, handler, GFP_KERNEL)?;
    }
    Ok(())
}
