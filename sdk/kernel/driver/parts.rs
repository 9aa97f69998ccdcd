// SPDX-License-Identifier: GPL-2.0

//! What a driver says of its BARs at the open: which parts of them are memory.

use super::{Context, Engine, Task};
use crate::memory::{Content, DeviceMemory, IoMemory, Part};
use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_model::config;

/// The most parts of a device.
pub(crate) const MOST: usize = 32;

/// The parts of an open device's BARs that are memory. All other bytes are registers.
///
/// # Errors
///
/// All calls return EINVAL, and log the rule that is broken, if the memory cannot be at that place:
/// it must be in a memory BAR, at a multiple of the page size, within the BAR and beside the other
/// parts, of which there may be 32; ENOMEM.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::Arc};
/// # use mdev_sdk::{Context, DeviceMemory, Engine, Parts, Step, Task};
/// # struct Rings;
/// # impl Task for Rings {
/// #     fn step(&self, _cx: &Context) -> Step { Step::Idle }
/// # }
/// struct Card {
///     tails: Arc<DeviceMemory>,
///     vram: Arc<DeviceMemory>,
///     rings: Engine<Rings>,
/// }
///
/// /// BAR 0 has registers, and at 0x1000 a page of doorbells. BAR 2 is memory.
/// fn parts(card: &Card, parts: &mut Parts<'_>) -> Result {
///     parts.doorbells(0, 0x1000, &card.tails, &card.rings)?;
///     parts.memory(2, 0, &card.vram)
/// }
/// ```
pub struct Parts<'a> {
    cx: &'a Context,
    parts: KVec<Part>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(cx: &'a Context) -> Self {
        let parts = KVec::new();
        Parts { cx, parts }
    }

    pub(super) fn into_inner(self) -> KVec<Part> {
        self.parts
    }

    /// Adds `memory` at `offset` of BAR `bar`. The SDK serves these bytes, mapped and trapped, and
    /// does not call `read` and `write` for them.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors).
    pub fn memory(&mut self, bar: usize, offset: u64, memory: &Arc<DeviceMemory>) -> Result {
        let content = Content::Memory(memory.clone(), None);
        // SAFETY: It is no I/O memory.
        unsafe { self.add(bar, offset, memory.size(), content) }
    }

    /// Adds `memory` as for [`memory`](Self::memory), and kicks `engine` when user space writes to
    /// it: at the first write to a page, and at the first one after each
    /// [`take_dirty`](DeviceMemory::take_dirty) of the page, which the engine must call before it
    /// reads.
    ///
    /// So a guest rings without an exit to user space, and rings again without any while the engine
    /// has not looked. The memory's dirty pages are the engine's: save such a part as a whole.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors).
    pub fn doorbells<T: Task>(
        &mut self,
        bar: usize,
        offset: u64,
        memory: &Arc<DeviceMemory>,
        engine: &Engine<T>,
    ) -> Result {
        let kick = engine.kicker();
        let written = KBox::new(move || kick.kick(), GFP_KERNEL_ACCOUNT)?;
        let content = Content::Memory(memory.clone(), Some(written));
        // SAFETY: It is no I/O memory.
        unsafe { self.add(bar, offset, memory.size(), content) }
    }

    /// Adds I/O memory of the mdev's parent at `offset` of BAR `bar`: the guest accesses the
    /// hardware itself, mapped without an exit to the kernel or to user space, and trapped in one
    /// access of the width that it uses.
    ///
    /// So the pages must have what this guest alone may use, such as its own doorbells, and nothing
    /// by which it reaches another guest or memory that is not its own. The SDK does not save their
    /// state, and does not keep user space from them while the device is stopped: `quiesce` must
    /// leave the hardware in a state in which they have no effect.
    ///
    /// # Errors
    ///
    /// Those of [all calls](Self#errors); EINVAL, and a line in the log, also if the memory is not
    /// that of the mdev's parent.
    pub fn io_memory(&mut self, bar: usize, offset: u64, memory: &Arc<IoMemory>) -> Result {
        if !memory.is_of_parent(self.cx.device()) {
            self.cx
                .report_mistake(fmt!("I/O memory of another device than the mdev's parent"));
            return Err(EINVAL);
        }
        // SAFETY: It belongs to the parent of this mdev.
        unsafe { self.add(bar, offset, memory.len(), Content::Io(memory.clone())) }
    }

    /// # Safety
    ///
    /// As for [`Part::new`].
    unsafe fn add(&mut self, bar: usize, offset: u64, len: usize, content: Content) -> Result {
        let place = config::Part {
            bar,
            bytes: offset..offset.saturating_add(len as u64),
        };
        let bars = &self.cx.identity().bars;
        let others = self.parts.iter().map(|part| &part.place);
        let checked = match self.parts.len() {
            MOST.. => Err("a device may have 32 parts"),
            _ => place.check(bars, PAGE_SIZE as u64, others),
        };
        if let Err(rule) = checked {
            let bytes = &place.bytes;
            self.cx.report_mistake(fmt!(
                "the part at {:#x} to {:#x} of BAR {bar}: {rule}",
                bytes.start,
                bytes.end
            ));
            return Err(EINVAL);
        }
        // SAFETY: As guaranteed by the caller.
        let part = unsafe { Part::new(place, content) };
        Ok(self.parts.push(part, GFP_KERNEL_ACCOUNT)?)
    }
}
