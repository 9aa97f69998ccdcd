// SPDX-License-Identifier: GPL-2.0

//! A part of a BAR that is memory: its place, and user space's mappings of it.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{io_memory::IoMemory, mapping, wakeup::Wakeup, DeviceMemory};
use crate::base::raw;
use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_model::{config, region};

/// Called after user space has written to a part.
pub(super) type Written = KBox<dyn Fn() + Send + Sync>;

/// What a part has.
pub(crate) enum Content {
    /// Device memory. The function is called after the first write to a page since it was taken, if
    /// not more often.
    Memory(Arc<DeviceMemory>, Option<Written>),
    /// I/O memory of the mdev's parent.
    Io(Arc<IoMemory>),
}

/// A part of a BAR that is memory.
///
/// # Invariants
///
/// I/O memory is that of the mdev's parent, which is bound as long as the mdev is there.
pub(crate) struct Part {
    pub(crate) place: config::Part,
    content: Content,
}

impl Part {
    /// Creates a part of an mdev's BAR.
    ///
    /// # Safety
    ///
    /// I/O memory must [be that of the mdev's parent](IoMemory::is_of_parent).
    pub(crate) unsafe fn new(place: config::Part, content: Content) -> Self {
        // INVARIANT: As guaranteed by the caller.
        Part { place, content }
    }

    /// Reads the bytes at `offset` of the part, as for [`DeviceMemory::read`].
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result {
        let offset = usize::try_from(offset)?;
        match &self.content {
            Content::Memory(memory, _) => memory.read(offset, data),
            Content::Io(io) => io.read(offset, data),
        }
    }

    /// Writes `data` to `offset` of the part, as for [`DeviceMemory::write`].
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result {
        let offset = usize::try_from(offset)?;
        match &self.content {
            Content::Memory(memory, written) => {
                memory.write(offset, data)?;
                if let Some(written) = written {
                    written();
                }
                Ok(())
            }
            Content::Io(io) => io.write(offset, data),
        }
    }

    /// Wakes the pollers of `wakeup` at the next write to device memory; see
    /// [`DeviceMemory::watch`].
    pub(crate) fn watch(&self, wakeup: &Arc<Wakeup>) {
        if let Content::Memory(memory, _) = &self.content {
            memory.watch(wakeup);
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
        match &self.content {
            // SAFETY: As guaranteed by the caller.
            Content::Memory(memory, _) => unsafe { memory.attach(vdev, base) },
            Content::Io(_) => Ok(()),
        }
    }

    /// Detaches the memory from a device that is being closed and no longer mapped.
    pub(crate) fn detach(&self) {
        if let Content::Memory(memory, _) = &self.content {
            memory.detach();
        }
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
        let bytes = self.place.bytes.clone();
        match &self.content {
            // SAFETY: As guaranteed by the caller.
            Content::Memory(..) => unsafe { mapping::show(vma, self, bytes, 0, &VM_OPS) },
            // SAFETY: As guaranteed by the caller.
            Content::Io(_) => unsafe {
                let flags = raw::VM_IO | raw::VM_PFNMAP;
                mapping::show(vma, self, bytes, flags, &IO_VM_OPS)?;
                raw::mdev_map_uncached(vma);
                Ok(())
            },
        }
    }
}

const VM_OPS: raw::vm_operations_struct = raw::vm_operations_struct {
    fault: Some(fault),
    page_mkwrite: Some(page_mkwrite),
    ..pin_init::zeroed()
};

const IO_VM_OPS: raw::vm_operations_struct = raw::vm_operations_struct {
    fault: Some(io_fault),
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
    let Content::Memory(memory, _) = &part.content else {
        return raw::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    let Some(page) = memory.page(number) else {
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
    if let Content::Memory(memory, written) = &part.content {
        memory.note(number);
        // Whoever takes the mark waits for the page's lock first, and so for the mapping.
        if let Some(written) = written {
            written();
        }
    }
    raw::vm_fault_reason_VM_FAULT_LOCKED
}

/// # Safety
///
/// `vmf` must be a fault in a mapping that [`Part::mmap`] set up; the kernel must be the caller.
unsafe extern "C" fn io_fault(vmf: *mut raw::vm_fault) -> c_uint {
    // SAFETY: The caller guarantees that `vmf` is a fault in a mapping of a `Part`.
    let (part, number) = unsafe { faulting(vmf) };
    match &part.content {
        // SAFETY: The mapping of a part with I/O memory has `VM_PFNMAP`. By the type invariant the
        // memory is that of the device's parent.
        Content::Io(io) => unsafe { io.map(vmf, number) },
        Content::Memory(..) => raw::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
