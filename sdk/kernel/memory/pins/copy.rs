// SPDX-License-Identifier: GPL-2.0

//! Copies between the kernel and guest memory, without a pin.

use super::Pins;
use kernel::{page::PAGE_SIZE, prelude::*};

impl Pins {
    /// Copies `len` bytes between `data` and guest memory at `iova`, with `vfio_dma_rw()`.
    ///
    /// # Safety
    ///
    /// `data` must be valid for reads of `len` bytes, and for writes too unless `write` is set.
    pub(in super::super) unsafe fn copy(
        &self,
        opening: u64,
        iova: u64,
        data: *mut u8,
        len: usize,
        write: bool,
    ) -> Result {
        if len == 0 || iova.checked_add(len as u64 - 1).is_none() {
            return Err(EINVAL);
        }
        let thread = {
            let mut table = self.table.lock();
            self.begin(&table, opening)?;
            table.begin_call().inspect_err(|_| self.activity.end())?
        };
        let mut done = 0;
        let mut result = Ok(());
        while done < len && result.is_ok() {
            let at = iova + done as u64;
            // VFIO does not account for a write that fails, although its first part may have been
            // written. A page is written as a whole or not at all, so writes are cut into pages.
            let some = match write {
                true => (PAGE_SIZE - at as usize % PAGE_SIZE).min(len - done),
                false => len,
            };
            let copy = || {
                // SAFETY: A copy is under way, so `vdev` is open by the type invariant; the caller
                // guarantees `data` for `len` bytes, and `done + some` is at most that.
                unsafe { self.vdev.copy(at, data.add(done), some, write) }
            };
            let page = at / PAGE_SIZE as u64;
            result = match write {
                true => self.log.writing(&(page..=page), copy),
                false => copy(),
            };
            done += some;
        }
        self.end_call(thread);
        self.activity.end();
        result
    }
}
