// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that a parent's hardware reaches, and a driver.
//!
//! The kernel crate's `Coherent` lets a driver look at it through `unsafe` code only.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::base::raw;
use core::{ptr, ptr::NonNull};
use kernel::{
    device::{Bound, Device},
    devres::Devres,
    prelude::*,
};

/// Coherent memory of a device.
///
/// # Invariants
///
/// `data` and `address` are those of `len` bytes that were allocated for `device`, which is bound.
struct Coherent {
    device: NonNull<raw::device>,
    data: NonNull<u8>,
    address: u64,
    len: usize,
}

// SAFETY: The memory may be accessed and freed from any thread.
unsafe impl Send for Coherent {}
// SAFETY: All accesses through a shared reference are volatile copies, of memory that hardware may
// change meanwhile.
unsafe impl Sync for Coherent {}

impl Drop for Coherent {
    fn drop(&mut self) {
        let (data, device) = (self.data.as_ptr(), self.device.as_ptr());
        // SAFETY: By the type invariants it was allocated for this device; it is not used after
        // this.
        unsafe { raw::dma_free_attrs(device, self.len, data.cast(), self.address, 0) };
    }
}

/// Memory that the hardware of the parent reads and writes, as a ring or a bounce buffer; zeroed.
///
/// It is freed when the function is unbound from its driver, after its mdevs are gone.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{DmaBuffer, ParentBar};
/// /// Has a card read a command from the beginning of a buffer.
/// fn command(bar: &ParentBar, buffer: &DmaBuffer, command: &[u8]) -> Result {
///     buffer.write(0, command)?;
///     bar.write32(0x80, u32::try_from(buffer.address())?)
/// }
/// ```
pub struct DmaBuffer {
    memory: Devres<Coherent>,
    address: u64,
}

impl DmaBuffer {
    pub(super) fn new(device: &Device<Bound>, len: usize) -> Result<Self> {
        let raw = NonNull::from(device).cast::<raw::device>();
        let mut address = 0;
        // SAFETY: The device is bound, so its DMA mask is set; `address` is valid for writes.
        let data =
            unsafe { raw::dma_alloc_attrs(raw.as_ptr(), len, &mut address, raw::GFP_KERNEL, 0) };
        // INVARIANT: The memory was allocated with these values.
        let memory = Coherent {
            device: raw,
            data: NonNull::new(data.cast()).ok_or(ENOMEM)?,
            address,
            len,
        };
        Ok(DmaBuffer {
            memory: Devres::new(device, memory)?,
            address,
        })
    }

    /// Returns the address at which the hardware finds the memory.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Copies the bytes at `offset` into `data`.
    ///
    /// # Errors
    ///
    /// EINVAL if they are out of bounds; ENODEV if the function is unbound.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        self.access(offset, data.len(), |memory| {
            for (at, byte) in data.iter_mut().enumerate() {
                // SAFETY: `access` passes as many bytes as `data` has.
                *byte = unsafe { ptr::read_volatile(memory.add(at)) };
            }
        })
    }

    /// Copies `data` to `offset`.
    ///
    /// # Errors
    ///
    /// EINVAL if that is out of bounds; ENODEV if the function is unbound.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result {
        self.access(offset, data.len(), |memory| {
            for (at, byte) in data.iter().enumerate() {
                // SAFETY: `access` passes as many bytes as `data` has.
                unsafe { ptr::write_volatile(memory.add(at), *byte) };
            }
        })
    }

    /// Passes the `len` bytes at `offset` to `copy`.
    fn access(&self, offset: usize, len: usize, copy: impl FnOnce(*mut u8)) -> Result {
        let memory = self.memory.try_access().ok_or(ENODEV)?;
        if offset.checked_add(len).is_none_or(|end| end > memory.len) {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant there are more than `offset` bytes, or as many.
        copy(unsafe { memory.data.as_ptr().add(offset) });
        Ok(())
    }
}
