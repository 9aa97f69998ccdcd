// SPDX-License-Identifier: GPL-2.0

//! What a pinned range is to hardware: how that is stopped, and whether it writes the range.

use super::{
    super::dirty_log,
    dma::{DmaParent, Mapping},
    pages::Pages,
    range::Range,
    Pins,
};
use crate::base::{raw, trace};
use kernel::{dma::DataDirection, page::PAGE_SIZE, prelude::*, sync::Arc};

/// The hardware that uses a range.
pub(crate) struct Hardware {
    /// Stops it, before user space takes the range away.
    stop: KBox<dyn Fn() + Send + Sync>,
    mapping: Option<KBox<Mapping>>,
    /// Whether it writes the range, and so makes its pages dirty.
    writes: bool,
}

impl Hardware {
    /// Creates the hardware that `stop` stops, without a mapping.
    pub(crate) fn new(stop: impl Fn() + Send + Sync + 'static, writes: bool) -> Result<Hardware> {
        Ok(Hardware {
            stop: KBox::new(stop, GFP_KERNEL_ACCOUNT)?,
            mapping: None,
            writes,
        })
    }

    /// Whether the log must know of its writes.
    fn is_logged(&self) -> bool {
        dirty_log::OFFERED && self.writes
    }

    /// Stops it.
    fn stop(&self) {
        (self.stop)();
    }

    /// Maps `len` bytes of `pages` for it, from `offset` bytes into the first one on.
    ///
    /// # Errors
    ///
    /// ENOMEM; EIO if the hardware cannot reach the pages.
    ///
    /// # Safety
    ///
    /// The bytes must be within `pages`, which must be pinned until [`unmap`](Self::unmap).
    unsafe fn map(
        &mut self,
        parent: DmaParent,
        pages: &[*mut raw::page],
        offset: usize,
        len: usize,
    ) -> Result {
        // What is only read is not copied back where the kernel copies for hardware that does not
        // reach the pages: the guest may write beside it meanwhile.
        let direction = match self.writes {
            true => DataDirection::Bidirectional,
            false => DataDirection::ToDevice,
        };
        // SAFETY: As guaranteed by the caller.
        let mapping = unsafe { Mapping::new(parent, pages, offset, len, direction)? };
        self.mapping = Some(KBox::new(mapping, GFP_KERNEL_ACCOUNT)?);
        Ok(())
    }

    /// Ends the mapping. What the hardware has written is in the pages then.
    fn unmap(&mut self) {
        self.mapping = None;
    }

    /// Calls `each(address, len)` for the segments of the mapping, in the order of the range.
    ///
    /// # Errors
    ///
    /// ENODEV without a mapping; else the error of `each`, at which it stops.
    pub(super) fn segments(&self, each: impl FnMut(u64, usize) -> Result) -> Result {
        let mapping = self.mapping.as_ref().ok_or(ENODEV)?;
        mapping.segments(each)
    }
}

impl Pins {
    /// Makes `range`, whose `pages` are pinned, one for `hardware`: its writes are accounted, and
    /// it finds the `len` bytes at `iova`.
    #[cold]
    pub(super) fn admit(
        &self,
        mut hardware: Hardware,
        range: Arc<Range>,
        pages: Pages,
        iova: u64,
        len: usize,
    ) -> Result<Arc<Range>> {
        let held = match hardware.is_logged() {
            true => self.log.hold(&range.span.all_numbers(PAGE_SIZE)),
            false => Ok(()),
        };
        let mapped = held.and_then(|()| {
            let Some(parent) = self.parent else {
                return Ok(());
            };
            let (pages, offset) = (pages.get(range.span.pages), iova as usize % PAGE_SIZE);
            // SAFETY: `pages` are those of the bytes, and stay pinned until `dismiss` has ended the
            // mapping.
            let mapped = unsafe { hardware.map(parent, pages, offset, len) };
            mapped.inspect_err(|_| {
                if hardware.is_logged() {
                    self.log.release(&range.span.all_numbers(PAGE_SIZE));
                }
            })
        });
        if let Err(error) = mapped {
            self.unpin_pages(&range);
            return self.give_up(&range, error);
        }
        range.state.lock().pinned_for(hardware, pages);
        if trace::pin_is_on() {
            self.trace_pin(&range.span, 0);
        }
        Ok(range)
    }

    /// Unpins `range`, which `hardware` uses; stops that first if it may be `running`.
    #[cold]
    pub(super) fn dismiss(&self, mut hardware: Hardware, range: &Arc<Range>, running: bool) {
        if running {
            hardware.stop();
        }
        // This may be what writes the pages, so it comes before they are released.
        hardware.unmap();
        if hardware.is_logged() {
            self.log.release(&range.span.all_numbers(PAGE_SIZE));
        }
        self.unpin_and_forget(range);
        // Its `stop` may own what owns the guard, whose drop waits until the range has left the
        // table.
        drop(hardware);
    }
}
