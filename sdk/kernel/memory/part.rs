// SPDX-License-Identifier: GPL-2.0

//! A part of a BAR that is device memory: its place, and user space's mappings of it.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{mapping, DeviceMemory};
use crate::base::raw;
use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_model::{config, region};

/// Called after user space has written to a part.
pub(crate) type Written = KBox<dyn Fn() + Send + Sync>;

/// A part of a BAR that is device memory.
pub(crate) struct Part {
    pub(crate) place: config::Part,
    pub(crate) memory: Arc<DeviceMemory>,
    /// Called after the first write to a page since it was taken, if not more often.
    pub(crate) written: Option<Written>,
}

impl Part {
    /// Reads the bytes at `offset` of the part, as for [`DeviceMemory::read`].
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result {
        self.memory.read(usize::try_from(offset)?, data)
    }

    /// Writes `data` to `offset` of the part, as for [`DeviceMemory::write`].
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result {
        self.memory.write(usize::try_from(offset)?, data)?;
        self.notify();
        Ok(())
    }

    fn notify(&self) {
        if let Some(written) = &self.written {
            written();
        }
    }

    /// Attaches the memory to a device that is being opened.
    ///
    /// # Errors
    ///
    /// EBUSY if it is attached already.
    ///
    /// # Safety
    ///
    /// `vdev` must be a VFIO device that is being opened. [`detach`](Self::detach) must be called
    /// before it is closed.
    pub(crate) unsafe fn attach(&self, vdev: *mut raw::vfio_device) -> Result {
        let base = region::file_offset(self.place.bar as u32) + self.place.bytes.start;
        // SAFETY: As guaranteed by the caller.
        unsafe { self.memory.attach(vdev, base) }
    }

    /// Detaches the memory from a device that is being closed and no longer mapped.
    pub(crate) fn detach(&self) {
        self.memory.detach();
    }

    /// Sets up `vma` as a mapping of the part, or of some of it.
    ///
    /// # Errors
    ///
    /// EINVAL if the mapping is private, or reaches beyond the part.
    ///
    /// # Safety
    ///
    /// `vma` must be one that `mmap()` of the file of an open VFIO device sets up, at a file offset
    /// in the part's BAR. The part must be attached to that device, and live until it is closed.
    pub(crate) unsafe fn mmap(&self, vma: *mut raw::vm_area_struct) -> Result {
        // SAFETY: As guaranteed by the caller.
        unsafe { mapping::show(vma, self, self.place.bytes.clone(), 0, &VM_OPS) }
    }
}

const VM_OPS: raw::vm_operations_struct = raw::vm_operations_struct {
    fault: Some(fault),
    page_mkwrite: Some(page_mkwrite),
    ..pin_init::zeroed()
};

/// Returns the part of a fault, and the number of the faulting page in its memory.
///
/// # Safety
///
/// `vmf` must be a fault in a mapping that [`Part::mmap`] set up.
unsafe fn faulting<'a>(vmf: *mut raw::vm_fault) -> (&'a Part, usize) {
    // SAFETY: The caller guarantees that `vmf` is a fault in a mapping of a `Part`.
    let (part, offset) = unsafe { mapping::faulting::<Part>(vmf) };
    // The mapping begins in the part.
    let offset = offset.saturating_sub(part.place.bytes.start);
    (part, offset as usize / PAGE_SIZE)
}

/// # Safety
///
/// `vmf` must be a fault in a mapping that [`Part::mmap`] set up; the kernel must be the caller.
unsafe extern "C" fn fault(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: The caller guarantees that `vmf` is a fault in a mapping of a `Part`.
    let (part, number) = unsafe { faulting(vmf) };
    let Some(page) = part.memory.page(number) else {
        return raw::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    // SAFETY: The memory owns the page; the kernel takes over the new reference. It maps the page
    // for writing only after `page_mkwrite`, since `VM_OPS` has that.
    unsafe {
        raw::get_page(page.as_ptr());
        (*vmf).page = page.as_ptr();
    }
    0
}

/// # Safety
///
/// `vmf` must be a fault in a mapping that [`Part::mmap`] set up; the kernel must be the caller.
unsafe extern "C" fn page_mkwrite(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: The caller guarantees that `vmf` is valid. The kernel unlocks the page when it is
    // mapped.
    let (part, number) = unsafe {
        raw::lock_page((*vmf).page);
        faulting(vmf)
    };
    part.memory.note(number);
    // Whoever takes the mark waits for the page's lock first, and so for the mapping.
    part.notify();
    raw::vm_fault_reason_VM_FAULT_LOCKED
}
