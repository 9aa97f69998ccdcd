// SPDX-License-Identifier: GPL-2.0

//! The contents of a device's memory that arrive in a stream, until they replace its own.

use super::{
    device_memory::{zeroed_page, DeviceMemory},
    page_access::{copy_to_page, in_pages},
};
use kernel::{
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::Arc,
};
use mdev_model::stream::LoadError;

/// Contents for a [`DeviceMemory`], initially zero.
///
/// It takes only as much memory as was written, in pages.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::Arc};
/// # use mdev_sdk::{model::stream::LoadError, DeviceMemory, StagedMemory};
/// struct Arrived {
///     vram: StagedMemory,
/// }
///
/// fn start_loading(vram: &Arc<DeviceMemory>) -> Result<Arrived> {
///     let vram = StagedMemory::new(vram)?;
///     Ok(Arrived { vram })
/// }
///
/// fn load(arrived: &mut Arrived, offset: usize, bytes: &[u8]) -> Result<(), LoadError> {
///     arrived.vram.write(offset, bytes)
/// }
///
/// fn commit(arrived: Arrived) {
///     arrived.vram.commit();
/// }
/// ```
pub struct StagedMemory {
    memory: Arc<DeviceMemory>,
    /// One for each page of `memory`; `None` is zeros.
    pages: KVVec<Option<Page>>,
}

impl StagedMemory {
    /// Creates contents for `memory`; ENOMEM.
    pub fn new(memory: &Arc<DeviceMemory>) -> Result<Self> {
        let count = memory.size() / PAGE_SIZE;
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            pages.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        let memory = memory.clone();
        Ok(StagedMemory { memory, pages })
    }

    /// Copies `data` to `offset`.
    ///
    /// # Errors
    ///
    /// [`LoadError::BadState`] if that is out of bounds, with nothing written;
    /// [`LoadError::NoMemory`]. Either refuses the stream, if [`load`](crate::Migrate::load)
    /// returns it.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), LoadError> {
        let is_inside = self.memory.check(offset, data.len());
        is_inside.map_err(|_| "bytes beyond the device's memory")?;
        let pages = &mut self.pages;
        let written = in_pages(offset, data.len(), |piece| {
            let page = match &mut pages[piece.page] {
                Some(page) => page,
                none => none.insert(zeroed_page()?),
            };
            // SAFETY: `self` owns the page.
            unsafe { copy_to_page(page.as_ptr(), &piece, data) };
            Ok(())
        });
        written.map_err(|_| LoadError::NoMemory)
    }

    /// Replaces the memory's contents. The device must be stopped, as it is in
    /// [`commit`](crate::Migrate::commit).
    ///
    /// Pages that change become dirty, also if they become zero.
    pub fn commit(self) {
        self.memory.clear();
        for (number, page) in self.pages.iter().enumerate() {
            if let Some(page) = page {
                self.memory.replace(number, page);
            }
        }
    }
}
