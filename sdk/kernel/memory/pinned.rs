// SPDX-License-Identifier: GPL-2.0

//! The guard of a pinned range of guest memory, and accesses through it.

use super::{
    page_access::{copy_from_page, copy_to_page, load_from_page, store_to_page},
    pins::{Pins, Range},
    value,
};
use core::marker::PhantomData;
use kernel::{
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::Arc,
};
use mdev_model::record::Field;

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
    /// Returns the guard of `range`, which holds the `len` bytes at `iova`.
    pub(super) fn new(range: Arc<Range>, pins: Arc<Pins>, iova: u64, len: usize) -> Self {
        Pinned {
            range,
            pins,
            offset: iova as usize % PAGE_SIZE,
            len,
            _access: PhantomData,
        }
    }

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

    /// Returns the value at `offset` of the range: an integer or a
    /// [`record!`](mdev_model::record!).
    ///
    /// If it has 1, 2, 4 or 8 bytes and its IOVA is a multiple of that, it is loaded at once, and
    /// before all that follows (`smp_load_acquire()`): what a guest has written before it is seen
    /// too. Others are copied in any order. It must have at most 512 bytes.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); EBADMSG if the bytes there are no value of the type.
    pub fn read_value<T: Field>(&self, offset: usize) -> Result<T> {
        value::decoded(|bytes| {
            let at = self.bound(offset, bytes.len())?;
            let load = |page, piece| {
                // SAFETY: `with_pieces` keeps the page pinned during the call.
                unsafe { load_from_page(page, &piece, bytes) };
                Ok(())
            };
            self.range.with_pieces(at, T::LEN, false, None, load)
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

    /// Writes `value` to `offset` of the range.
    ///
    /// If it has 1, 2, 4 or 8 bytes and its IOVA is a multiple of that, it is stored at once, and
    /// after all that precedes (`smp_store_release()`): a guest that sees it sees also what was
    /// written before. Others are copied in any order. It must have at most 512 bytes.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn write_value<T: Field>(&self, offset: usize, value: &T) -> Result {
        value::encoded(value, |bytes| {
            let at = self.bound(offset, bytes.len())?;
            let written = Some(&self.pins.log);
            let store = |page, piece| {
                // SAFETY: `with_pieces` keeps the page pinned during the call.
                unsafe { store_to_page(page, &piece, bytes) };
                Ok(())
            };
            self.range.with_pieces(at, T::LEN, false, written, store)
        })
    }
}

impl Pinned<Dma> {
    /// Calls `each` for the pages in the order of their IOVA, for the driver to map them for its
    /// hardware.
    ///
    /// The hardware's accesses begin [`offset`](Self::offset) bytes into the first page. The range
    /// cannot be unmapped during the call. So `each` must not wait, and must not call
    /// [`GuestMemory`](super::GuestMemory) or a guard: an unmap may hold what that would wait for.
    ///
    /// # Errors
    ///
    /// EFAULT if the range was unmapped; else the error of `each`, at which the function stops.
    pub fn for_each_page(&self, mut each: impl FnMut(&Page) -> Result) -> Result {
        self.range
            .with_pages(self.offset, self.len, |page| each(page))
    }

    /// Calls `each(address, len)` for the segments in which the hardware of the parent finds the
    /// range, in the order of the range: `len` bytes at a DMA address. Neighbouring pages may be
    /// one segment. The same rules apply to `each` as for [`for_each_page`](Self::for_each_page).
    ///
    /// # Errors
    ///
    /// EFAULT if the range was unmapped; ENODEV if the mdev's parent is no PCI function; else the
    /// error of `each`, at which the function stops.
    pub fn for_each_segment(&self, each: impl FnMut(u64, usize) -> Result) -> Result {
        self.range.with_segments(each)
    }

    /// Calls `start`, which lets the hardware access the range, and returns its result.
    ///
    /// If user space unmaps the range, the `stop` of
    /// [`GuestMemory::pin_dma`](super::GuestMemory::pin_dma) is called after `start`, or `start` is
    /// not called any more. Hardware that is started in another way may run on memory that was
    /// unmapped a moment ago. `start` must not wait, and must not call guest memory or a guard, as
    /// for [`for_each_page`](Self::for_each_page).
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
