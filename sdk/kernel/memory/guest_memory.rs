// SPDX-License-Identifier: GPL-2.0

//! Guest memory, by IOVA. A driver has no other access to it, so all that it writes is accounted.
//!
//! | call | for | pages that the device's log counts as dirty |
//! |---|---|---|
//! | [`read`], [`write`] | small copies: descriptors, fences | the pages written |
//! | [`pin_read`] | reading for a while | none |
//! | [`pin_write`] | reading and writing for a while | the pages written |
//! | [`pin_dma`] | hardware, whose writes are not observed | all its pages, until unpinned |
//!
//! The device has a log of its own if the kernel supports it (`dirty_log.rs`). The type1
//! container's log counts every pinned page, whatever it is pinned for, in each report up to the
//! first one after it is unpinned. So a driver should pin what a command touches, and only while it
//! runs.
//!
//! [`read`]: GuestMemory::read
//! [`write`]: GuestMemory::write
//! [`pin_read`]: GuestMemory::pin_read
//! [`pin_write`]: GuestMemory::pin_write
//! [`pin_dma`]: GuestMemory::pin_dma

use super::{
    dirty_log::Log,
    mapping::{copy_from_page, copy_to_page},
    pins::{Pins, Range, Stop},
};
use crate::base::raw;
use core::marker::PhantomData;
use kernel::{page::Page, prelude::*, sync::Arc};

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
    /// # Errors
    ///
    /// Those of [all calls](Self#errors).
    pub fn pin_dma(
        &self,
        iova: u64,
        len: usize,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<Pinned<Dma>> {
        let stop: KBox<dyn Fn() + Send + Sync> = KBox::new(stop, GFP_KERNEL_ACCOUNT)?;
        self.pin(iova, len, raw::IOMMU_READ | raw::IOMMU_WRITE, Some(stop))
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

    fn pin<A: Access>(
        &self,
        iova: u64,
        len: usize,
        prot: u32,
        stop: Option<Stop>,
    ) -> Result<Pinned<A>> {
        Ok(Pinned {
            range: self.pins.pin(self.opening, iova, len, prot, stop)?,
            pins: self.pins.clone(),
            offset: iova as usize % kernel::page::PAGE_SIZE,
            len,
            _access: PhantomData,
        })
    }
}

/// The purpose of a pinned range: [`Read`], [`Write`] or [`Dma`].
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{Access, Pinned};
/// /// Returns the first byte of a range, whatever it is pinned for.
/// fn first<A: Access>(range: &Pinned<A>) -> Result<u8> {
///     let mut byte = [0];
///     range.read(0, &mut byte)?;
///     Ok(byte[0])
/// }
/// ```
pub trait Access: sealed::Sealed {}

/// A range pinned for reading.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{GuestMemory, Pinned, Read};
/// fn ring(memory: &GuestMemory, iova: u64) -> Result<Pinned<Read>> {
///     memory.pin_read(iova, 4096)
/// }
/// ```
pub enum Read {}

/// A range pinned for reading and writing.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{Pinned, Write};
/// /// Fills a range with zeros.
/// fn clear(range: &Pinned<Write>) -> Result {
///     for offset in 0..range.len() {
///         range.write(offset, &[0])?;
///     }
///     Ok(())
/// }
/// ```
pub enum Write {}

/// A range pinned for hardware.
///
/// # Examples
///
/// [`Pinned`] has one.
pub enum Dma {}

impl Access for Read {}
impl Access for Write {}
impl Access for Dma {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
    impl Sealed for super::Dma {}
}

/// A pinned range of guest memory, which is unpinned on drop.
///
/// When user space unmaps the range or closes the device, the SDK unpins it at once, after it has
/// stopped the hardware of a [`Dma`] range. All accesses through the guard then return EFAULT.
///
/// # Examples
///
/// ```
/// # use kernel::{page::Page, prelude::*, sync::Arc};
/// # use mdev_sdk::{Dma, GuestMemory, Pinned};
/// # struct Engine;
/// # impl Engine {
/// #     fn stop(&self) {}
/// #     fn map(&self, _page: &Page) -> Result { Ok(()) }
/// #     fn start(&self, _offset: usize, _len: usize) {}
/// # }
/// /// Has hardware read and write `len` bytes at `iova`. Drop the guard when it has finished.
/// fn start(
///     engine: &Arc<Engine>,
///     memory: &GuestMemory,
///     iova: u64,
///     len: usize,
/// ) -> Result<Pinned<Dma>> {
///     let stopped = engine.clone();
///     // For user space that unmaps the range meanwhile.
///     let range = memory.pin_dma(iova, len, move || stopped.stop())?;
///     range.for_each_page(|page| engine.map(page))?;
///     range.start(|| engine.start(range.offset(), range.len()))?;
///     Ok(range)
/// }
/// ```
pub struct Pinned<A: Access> {
    range: Arc<Range>,
    pins: Arc<Pins>,
    /// Offset of the range in its first page.
    offset: usize,
    len: usize,
    _access: PhantomData<A>,
}

impl<A: Access> Pinned<A> {
    /// Returns the length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty range cannot be pinned"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies the bytes at `offset` of the range into `data`.
    ///
    /// # Errors
    ///
    /// EINVAL if they are out of bounds; EFAULT if the range was unmapped; EBUSY while the device
    /// is quiesced; EIO while it is not bus master and needs to be.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        let at = self.bound(offset, data.len())?;
        self.range
            .with_pieces(at, data.len(), false, None, |page, piece| {
                // SAFETY: `with_pieces` keeps the page pinned during the call.
                unsafe { copy_from_page(page, &piece, data) };
                Ok(())
            })
    }

    /// Returns the offset, from the first page, of the `len` bytes at `offset`; EINVAL if they are
    /// out of bounds.
    fn bound(&self, offset: usize, len: usize) -> Result<usize> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.offset + offset),
            _ => Err(EINVAL),
        }
    }
}

impl Pinned<Write> {
    /// Copies `data` to `offset` of the range.
    ///
    /// # Errors
    ///
    /// With nothing written: EINVAL if that is out of bounds; else as for [`read`](Self::read).
    pub fn write(&self, offset: usize, data: &[u8]) -> Result {
        let at = self.bound(offset, data.len())?;
        let written = Some(&self.pins.log);
        self.range
            .with_pieces(at, data.len(), false, written, |page, piece| {
                // SAFETY: `with_pieces` keeps the page pinned during the call.
                unsafe { copy_to_page(page, &piece, data) };
                Ok(())
            })
    }
}

impl Pinned<Dma> {
    /// Calls `each` for the pages in the order of their IOVA, for the driver to map them for its
    /// hardware.
    ///
    /// The hardware's accesses begin [`offset`](Self::offset) bytes into the first page. The range
    /// cannot be unmapped during the call. So `each` must not wait, and must not call
    /// [`GuestMemory`] or a guard: an unmap may hold what that would wait for.
    ///
    /// # Errors
    ///
    /// EFAULT if the range was unmapped; else the error of `each`, at which the function stops.
    pub fn for_each_page(&self, mut each: impl FnMut(&Page) -> Result) -> Result {
        self.range
            .with_pages(self.offset, self.len, |page| each(page))
    }

    /// Calls `start`, which lets the hardware access the range, and returns its result.
    ///
    /// If user space unmaps the range, the `stop` of [`GuestMemory::pin_dma`] is called after
    /// `start`, or `start` is not called any more. Hardware that is started in another way may run
    /// on memory that was unmapped a moment ago. `start` must not wait, and must not call
    /// [`GuestMemory`] or a guard, as for [`for_each_page`](Self::for_each_page).
    ///
    /// # Errors
    ///
    /// Without a call: EFAULT if the range was unmapped; EBUSY while the device is quiesced; EIO
    /// while it is not bus master and needs to be. Hardware that runs is the driver's to stop, in
    /// [`Operations::config_written`](crate::Operations::config_written).
    pub fn start<R>(&self, start: impl FnOnce() -> R) -> Result<R> {
        self.range.while_live(start)
    }

    /// Returns the offset of the range in its first page.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<A: Access> Drop for Pinned<A> {
    fn drop(&mut self) {
        self.pins.release(&self.range);
    }
}
