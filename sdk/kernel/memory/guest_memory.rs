// SPDX-License-Identifier: GPL-2.0

//! Guest memory, by IOVA. A driver has no other access to it, so all that it writes is accounted.
//!
//! | call | for | pages that the device's log counts as dirty |
//! |---|---|---|
//! | [`read`], [`write`] | small copies: descriptors, fences | the pages written |
//! | [`read_value`], [`write_value`] | the same of a structure | the pages written |
//! | [`GuestArray`](super::GuestArray) | rings and tables of structures | the pages written |
//! | [`pin_read`] | reading for a while | none |
//! | [`pin_write`] | reading and writing for a while | the pages written |
//! | [`pin_dma`] | hardware, whose writes are not observed | all its pages, until unpinned |
//! | [`pin_dma_read`] | hardware that only reads | none |
//!
//! The device has a log of its own if the kernel supports it (`dirty_log.rs`). The type1
//! container's log counts every pinned page, whatever it is pinned for, in each report up to the
//! first one after it is unpinned. So a driver should pin what a command touches, and only while it
//! runs.
//!
//! [`read`]: GuestMemory::read
//! [`write`]: GuestMemory::write
//! [`read_value`]: GuestMemory::read_value
//! [`write_value`]: GuestMemory::write_value
//! [`pin_read`]: GuestMemory::pin_read
//! [`pin_write`]: GuestMemory::pin_write
//! [`pin_dma`]: GuestMemory::pin_dma
//! [`pin_dma_read`]: GuestMemory::pin_dma_read

use super::{
    dirty_log::Log,
    pinned::{Access, Dma, Pinned, Read, Write},
    pins::{Hardware, Pins},
    value,
};
use crate::base::raw;
use kernel::{prelude::*, sync::Arc};
use mdev_model::record::Field;

/// The guest memory of an open device.
///
/// All calls may sleep, for as long as user space takes to provide the memory, so a driver must
/// hold no lock that `read` and `write` of [`Operations`](crate::Operations) take. A clone may
/// outlive the device.
///
/// # Errors
///
/// All calls return ENODEV after the device was closed; EBUSY while it is quiesced
/// ([`Migrate::quiesce`](crate::Migrate::quiesce)); EIO while it is not bus master and
/// [`needs`](crate::model::config::Identity::needs_bus_master) to be, also in the driver's open;
/// EINVAL for a length of zero, a range that
/// wraps, or one that is not mapped; EPERM for a mapping that does not allow the access; ENOMEM if
/// a limit of the process does not allow the pin; EACCES for a pin in a container of the first
/// version (`VFIO_TYPE1_IOMMU`); EFAULT for memory that cannot be pinned, or that belongs to
/// another process, for a copy. A pin of another device's BAR returns EFAULT or, if the kernel has
/// no `struct page` for it, EINVAL. After an error no page is pinned.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::GuestMemory;
/// /// Reads a descriptor and does what it says: inverts bytes.
/// fn execute(memory: &GuestMemory, descriptor: u64) -> Result {
///     let mut bytes = [0; 8];
///     memory.read(descriptor, &mut bytes)?;
///     // Pinned for as long as the command runs: type1 counts every pinned page as dirty.
///     let range = memory.pin_write(u64::from_le_bytes(bytes), 1 << 20)?;
///     let mut data = KVec::from_elem(0, 4096, GFP_KERNEL)?;
///     for offset in (0..range.len()).step_by(data.len()) {
///         range.read(offset, &mut data)?;
///         data.iter_mut().for_each(|byte| *byte = !*byte);
///         range.write(offset, &data)?;
///     }
///     // The fence.
///     memory.write(descriptor + 8, &1u32.to_le_bytes())
/// }
/// ```
#[derive(Clone)]
pub struct GuestMemory {
    pins: Arc<Pins>,
    /// The number of the open to which this belongs; see [`Pins::open`].
    opening: u64,
}

impl GuestMemory {
    /// Opens guest memory for a device that is being opened; [`Pins::close`] ends it.
    pub(crate) fn open(pins: Arc<Pins>, needs_bus_master: bool) -> Self {
        let opening = pins.open(needs_bus_master);
        GuestMemory { pins, opening }
    }

    /// Copies the bytes at `iova` into `data`.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors); `data` may have changed.
    pub fn read(&self, iova: u64, data: &mut [u8]) -> Result {
        // SAFETY: The pointer and the length are those of a mutable slice.
        unsafe {
            self.pins
                .copy(self.opening, iova, data.as_mut_ptr(), data.len(), false)
        }
    }

    /// Copies `data` to `iova`.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors). A first part may have been written, and is accounted.
    pub fn write(&self, iova: u64, data: &[u8]) -> Result {
        // SAFETY: The pointer and the length are those of a slice, and a write only reads it.
        unsafe {
            let data_ptr = data.as_ptr().cast_mut();
            self.pins
                .copy(self.opening, iova, data_ptr, data.len(), true)
        }
    }

    /// Returns the value at `iova`: an integer or a [`record!`](mdev_model::record!), of at most
    /// 512 bytes.
    ///
    /// The bytes are copied in any order, so a guest that writes meanwhile may be seen halfway: for
    /// values that the other side waits for, see [`GuestArray`](super::GuestArray).
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors); EBADMSG if the bytes there are no value of the type.
    pub fn read_value<T: Field>(&self, iova: u64) -> Result<T> {
        value::decoded(|bytes| self.read(iova, bytes))
    }

    /// Writes `value` to `iova`; for what a guest sees meanwhile, see
    /// [`read_value`](Self::read_value).
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub fn write_value<T: Field>(&self, iova: u64, value: &T) -> Result {
        value::encoded(value, |bytes| self.write(iova, bytes))
    }

    /// Pins the pages of the `len` bytes at `iova` for reading.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors).
    pub fn pin_read(&self, iova: u64, len: usize) -> Result<Pinned<Read>> {
        self.pin(iova, len, raw::IOMMU_READ, None)
    }

    /// Pins the pages of the `len` bytes at `iova` for reading and writing.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors).
    pub fn pin_write(&self, iova: u64, len: usize) -> Result<Pinned<Write>> {
        self.pin(iova, len, raw::IOMMU_READ | raw::IOMMU_WRITE, None)
    }

    /// Pins the pages of the `len` bytes at `iova` for hardware to read and write.
    ///
    /// Drop the guard when the hardware has finished with them. If user space unmaps the memory or
    /// closes the device earlier, the SDK calls `stop`; at a close, before it drops the driver's
    /// value. When `stop` returns, the hardware must no longer access the range, and
    /// [`Pinned::start`] has seen to it that it does not begin to. `stop` may sleep.
    /// It must not drop the guard, and must not wait for a thread that drops it. A pin of that
    /// memory fails with EINVAL until the unmap is over. The SDK drops `stop` when the pages are
    /// unpinned, so it may hold a reference to the owner of the guard.
    ///
    /// If the mdev's parent is a PCI function ([`PciDriver`](crate::PciDriver)), the range is
    /// mapped for it: [`Pinned::for_each_segment`]. The kernel may have to copy for hardware that
    /// does not reach the pages, so what it has written is certain to be in guest memory only once
    /// the guard was dropped: do so before the guest is told.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors); EIO also if the parent's hardware cannot reach the pages.
    pub fn pin_dma(
        &self,
        iova: u64,
        len: usize,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<Pinned<Dma>> {
        let hardware = Hardware::new(stop, true)?;
        let prot = raw::IOMMU_READ | raw::IOMMU_WRITE;
        self.pin(iova, len, prot, Some(hardware))
    }

    /// As [`pin_dma`](Self::pin_dma), for hardware that only reads the range: no page becomes dirty
    /// in the device's log. An IOMMU of the parent's refuses writes; without one they would be lost
    /// in a migration.
    ///
    /// # Errors
    ///
    /// Those of [`pin_dma`](Self::pin_dma).
    pub fn pin_dma_read(
        &self,
        iova: u64,
        len: usize,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<Pinned<Dma>> {
        let hardware = Hardware::new(stop, false)?;
        self.pin(iova, len, raw::IOMMU_READ, Some(hardware))
    }

    /// Ends the accesses of the quiesced device; see [`Pins::quiesce`].
    pub(crate) fn quiesce(&self) -> Result {
        self.pins.quiesce()
    }

    /// Allows accesses again.
    pub(crate) fn resume(&self) {
        self.pins.resume();
    }

    /// See [`Pins::set_bus_master`].
    pub(crate) fn set_bus_master(&self, is_master: impl FnOnce() -> bool) {
        self.pins.set_bus_master(is_master);
    }

    /// See [`Pins::while_refusing`].
    pub(crate) fn while_refusing(&self, wait: impl FnOnce()) {
        self.pins.while_refusing(wait);
    }

    /// Returns the device's DMA log.
    pub(crate) fn log(&self) -> &Log {
        &self.pins.log
    }

    pub(super) fn pin<A: Access>(
        &self,
        iova: u64,
        len: usize,
        prot: u32,
        hardware: Option<Hardware>,
    ) -> Result<Pinned<A>> {
        let range = self.pins.pin(self.opening, iova, len, prot, hardware)?;
        Ok(Pinned::new(range, self.pins.clone(), iova, len))
    }
}
