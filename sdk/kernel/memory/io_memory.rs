// SPDX-License-Identifier: GPL-2.0

//! I/O memory of a parent as a part of a BAR: registers of hardware that a guest accesses itself.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::base::raw;
use kernel::{
    device::Device,
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// How the kernel accesses I/O memory.
pub(crate) trait Registers: Send + Sync {
    /// Reads `data`, which has 1, 2, 4 or 8 bytes, at `offset` in one access.
    ///
    /// # Errors
    ///
    /// EINVAL if that is out of bounds, not aligned or of another length; ENODEV if the hardware is
    /// unbound.
    fn read(&self, offset: usize, data: &mut [u8]) -> Result;

    /// Writes `data`, with the rules and errors of [`read`](Self::read).
    fn write(&self, offset: usize, data: &[u8]) -> Result;

    /// Returns whether the hardware is bound, as it was when the registers were asked for.
    fn is_bound(&self) -> bool;
}

/// Pages of I/O memory of a parent, for [`Parts::io_memory`](crate::Parts::io_memory).
///
/// [`ParentBar::io_memory`](crate::ParentBar::io_memory) makes it, and has an example.
///
/// # Invariants
///
/// The `len` bytes at physical address `start` belong to `parent` until the binding ends that
/// `registers` is of. `start` and `len` are multiples of the page size.
pub struct IoMemory {
    /// Referenced, so that no other device gets its address.
    parent: ARef<Device>,
    start: u64,
    len: usize,
    registers: KBox<dyn Registers>,
}

impl IoMemory {
    /// Creates the I/O memory of the `len` bytes at physical address `start`.
    ///
    /// # Errors
    ///
    /// EINVAL if they are not whole pages, or none; ENOMEM.
    ///
    /// # Safety
    ///
    /// The bytes must belong to `parent` until its present binding to a driver ends, and
    /// `registers` must be these bytes of that binding.
    pub(crate) unsafe fn new(
        parent: &Device,
        start: u64,
        len: usize,
        registers: impl Registers + 'static,
    ) -> Result<Arc<Self>> {
        let page = PAGE_SIZE as u64;
        if len == 0 || len % PAGE_SIZE != 0 || start % page != 0 {
            return Err(EINVAL);
        }
        let registers: KBox<dyn Registers> = KBox::new(registers, GFP_KERNEL_ACCOUNT)?;
        // INVARIANT: The bytes are whole pages; the caller guarantees the rest.
        let new = IoMemory {
            parent: parent.into(),
            start,
            len,
            registers,
        };
        Ok(Arc::new(new, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the length in bytes, a multiple of the page size.
    #[expect(clippy::len_without_is_empty, reason = "there is none without pages")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether it belongs to the parent of `mdev`, in its present binding. Then it is that
    /// of a bound device as long as `mdev` is there.
    pub(crate) fn is_of_parent(&self, mdev: &Device) -> bool {
        let raw = |device: *const Device| device.cast_mut().cast::<raw::device>();
        // SAFETY: The reference is to a device that is registered, whose parent does not change.
        let parent = unsafe { (*raw(mdev)).parent };
        parent == raw(&raw const *self.parent) && self.registers.is_bound()
    }

    pub(super) fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        self.registers.read(offset, data)
    }

    pub(super) fn write(&self, offset: usize, data: &[u8]) -> Result {
        self.registers.write(offset, data)
    }

    /// Maps page `number` at the address of a fault, and returns the fault's result.
    ///
    /// # Safety
    ///
    /// `vmf` must be a fault in a mapping with `VM_PFNMAP`, of a device whose parent has the
    /// memory.
    pub(super) unsafe fn map(&self, vmf: *mut raw::vm_fault, number: usize) -> c_uint {
        if number >= self.len / PAGE_SIZE {
            return raw::vm_fault_reason_VM_FAULT_SIGBUS;
        }
        let frame = self.start / PAGE_SIZE as u64 + number as u64;
        // SAFETY: The caller guarantees that `vmf` is a fault in such a mapping. By the type
        // invariant the page belongs to the parent, which stays bound until the device, and so its
        // file and this mapping, are gone.
        unsafe {
            let info = (*vmf).__bindgen_anon_1;
            let address = info.address;
            raw::vmf_insert_pfn(info.vma, address, frame as c_ulong)
        }
    }
}
