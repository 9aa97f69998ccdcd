// SPDX-License-Identifier: GPL-2.0

//! Guest memory, by IOVA: the one way for a driver to reach it, so that what it writes is
//! accounted.
//!
//! | call | for | what counts as dirty |
//! |---|---|---|
//! | [`read`], [`write`] | small copies: descriptors, fences | the pages written |
//! | [`pin_read`] | reading for a while | nothing of the device's doing |
//! | [`pin_write`] | reading and writing for a while | the pages written |
//! | [`pin_dma`] | hardware, whose writes nobody sees | all its pages, until unpinned |
//!
//! That is what the device's own DMA log says, where the kernel has one (`dirty_log.rs`). The type1
//! container keeps an account of its own, and counts every page that is pinned, for whatever
//! purpose, in every report until the first one after it was unpinned: pin what a command touches,
//! for as long as it runs.
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
/// A clone may outlive the device; its calls then give ENODEV. Errors of all calls: EINVAL for a
/// length of zero, a range that wraps or one that is not mapped; EPERM for a mapping that does not
/// allow the access; ENOMEM where a limit of the process does not allow the pin; EFAULT for memory
/// that cannot be had, such as the BAR of another device for a pin, or that is another process's
/// for a copy. After an error no page is pinned. All calls may sleep, for as long as user space
/// takes to provide the memory: hold no lock that `read` and `write` of
/// [`Operations`](crate::Operations) take.
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
    /// The number of the time for which the device is open.
    opening: u64,
}

impl GuestMemory {
    /// Opens the way to guest memory; [`Pins::close`] ends it.
    pub(crate) fn open(pins: Arc<Pins>) -> Self {
        let opening = pins.open();
        GuestMemory { pins, opening }
    }

    /// Copies the bytes at `iova` into `data`. After an error `data` holds anything.
    pub fn read(&self, iova: u64, data: &mut [u8]) -> Result {
        // SAFETY: The pointer and the length are those of a slice that may be written.
        unsafe {
            self.pins
                .copy(self.opening, iova, data.as_mut_ptr(), data.len(), false)
        }
    }

    /// Copies `data` to `iova`. After an error a first part may have been written, and is
    /// accounted.
    pub fn write(&self, iova: u64, data: &[u8]) -> Result {
        // SAFETY: The pointer and the length are those of a slice, which a write only reads.
        unsafe {
            let data_ptr = data.as_ptr().cast_mut();
            self.pins
                .copy(self.opening, iova, data_ptr, data.len(), true)
        }
    }

    /// Pins the pages of `len` bytes at `iova` for reading.
    pub fn pin_read(&self, iova: u64, len: usize) -> Result<Pinned<Read>> {
        self.pin(iova, len, raw::IOMMU_READ, None)
    }

    /// Pins the pages of `len` bytes at `iova` for reading and writing.
    pub fn pin_write(&self, iova: u64, len: usize) -> Result<Pinned<Write>> {
        self.pin(iova, len, raw::IOMMU_READ | raw::IOMMU_WRITE, None)
    }

    /// Pins the pages of `len` bytes at `iova` for hardware to read and write.
    ///
    /// Drop the guard when the hardware has finished with them. `stop` is for user space that takes
    /// the memory away before, or closes the device, in which case it is called before the driver's
    /// value is dropped. When it returns the hardware must not touch the range any more. It may
    /// sleep, and must neither drop the guard nor wait for who does, or for who pins: pins of that
    /// memory wait for the unmap. It is dropped with the pages unpinned, so it may hold a reference
    /// to what holds the guard.
    pub fn pin_dma(
        &self,
        iova: u64,
        len: usize,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<Pinned<Dma>> {
        let stop: KBox<dyn Fn() + Send + Sync> = KBox::new(stop, GFP_KERNEL_ACCOUNT)?;
        self.pin(iova, len, raw::IOMMU_READ | raw::IOMMU_WRITE, Some(stop))
    }

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

/// What a pinned range is for: [`Read`], [`Write`] or [`Dma`].
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

/// A pinned range of guest memory; dropping it unpins.
///
/// When user space unmaps the range, or closes the device, it is unpinned at once (one for hardware
/// after the hardware was stopped), and every access through the guard from then on gives EFAULT.
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
///     engine.start(range.offset(), range.len());
///     Ok(range)
/// }
/// ```
pub struct Pinned<A: Access> {
    range: Arc<Range>,
    pins: Arc<Pins>,
    /// Where the range begins in its first page.
    offset: usize,
    len: usize,
    _access: PhantomData<A>,
}

impl<A: Access> Pinned<A> {
    /// Length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty range cannot be pinned"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies the bytes from `offset` of the range on into `data`; EINVAL beyond its end.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        let at = self.bound(offset, data.len())?;
        self.range.with_pieces(at, data.len(), None, |page, piece| {
            // SAFETY: The page is pinned while this runs.
            unsafe { copy_from_page(page.as_ptr(), &piece, data) };
            Ok(())
        })
    }

    fn bound(&self, offset: usize, len: usize) -> Result<usize> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.offset + offset),
            _ => Err(EINVAL),
        }
    }
}

impl Pinned<Write> {
    /// Copies `data` to `offset` of the range; EINVAL beyond its end, and then nothing is written.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result {
        let at = self.bound(offset, data.len())?;
        let written = Some(&self.pins.log);
        self.range
            .with_pieces(at, data.len(), written, |page, piece| {
                // SAFETY: The page is pinned while this runs.
                unsafe { copy_to_page(page.as_ptr(), &piece, data) };
                Ok(())
            })
    }
}

impl Pinned<Dma> {
    /// Calls `each` with the pages in the order of their IOVA, to be mapped for the hardware, whose
    /// accesses begin [`offset`](Self::offset) bytes into the first one. EFAULT if the range was
    /// unmapped; it cannot be while this runs, so `each` must not wait, and must call nothing of
    /// [`GuestMemory`] and of guards: an unmap may hold what that would wait for.
    pub fn for_each_page(&self, mut each: impl FnMut(&Page) -> Result) -> Result {
        self.range
            .with_pages(self.offset, self.len, |page| each(page))
    }

    /// Where the range begins in its first page.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<A: Access> Drop for Pinned<A> {
    fn drop(&mut self) {
        self.pins.release(&self.range);
    }
}
