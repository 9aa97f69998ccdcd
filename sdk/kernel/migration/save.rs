// SPDX-License-Identifier: GPL-2.0

//! The saving side of a session: a stream of what the driver saves, read piece by piece.

use crate::{
    base::raw,
    driver::{
        crc32c, Codec, Context, DeferredPayload, Migrate, Open, Operations, Pending, Phase,
        Progress, RecordWriter,
    },
};
use kernel::{prelude::*, uaccess::UserPtr};
use mdev_model::{
    stream::{StreamChecksum, Tag, END_LEN, EVENTS_MAX, HEADER_LEN, INTERRUPT_LEN, MATCH_LEN},
    v1::{self, Chunk},
};

/// The smallest answer to `VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`: QEMU sizes its buffer from it, and a
/// buffer that is too small breaks it.
const LEAST_STOP_COPY: u64 = 4096;

/// Size in bytes of what the SDK adds to each driver's records in STOP_COPY, besides configuration
/// space.
const TRAILER: usize = 3 * HEADER_LEN + INTERRUPT_LEN + END_LEN;

/// Returns the size in bytes of what the SDK would add now.
fn trailer(cx: &Context) -> u64 {
    let events = cx.irqs.save_events(&mut [0; EVENTS_MAX]).map(<[u8]>::len);
    let config = cx.identity().space_size();
    (TRAILER + config + events.map_or(0, |len| HEADER_LEN + len)) as u64
}

/// The remaining bytes of a pre-copy, as [`Outgoing::pre_copy`] returns them.
pub(crate) struct PreCopyRemaining {
    pub(crate) initial: u64,
    pub(crate) dirty: u64,
}

/// A buffer of what was saved and not read yet.
struct Saved {
    /// The checksum of the stream; `None` if the driver frames the stream itself.
    tally: Option<StreamChecksum>,
    /// The bytes to be read, from index `read` on.
    out: KVVec<u8>,
    read: usize,
    /// What follows the bytes of `out`.
    rest: DeferredPayload,
}

impl Saved {
    fn new(codec: Codec) -> Self {
        Saved {
            tally: (codec == Codec::Records).then(|| StreamChecksum::new(crc32c)),
            out: KVVec::new(),
            read: 0,
            rest: DeferredPayload::default(),
        }
    }

    /// Returns the number of bytes that are left to read.
    fn len(&self) -> usize {
        self.out.len() - self.read + self.rest.len()
    }

    /// Returns a writer for what the driver saves in `phase`.
    fn writer<'a, O: Migrate>(&'a mut self, cx: &'a Context, phase: Phase) -> RecordWriter<'a> {
        RecordWriter {
            out: &mut self.out,
            tally: self.tally.as_mut(),
            rest: (phase == Phase::StopCopy).then_some(&mut self.rest),
            known: O::RECORDS,
            cx,
        }
    }

    /// Empties the buffer after everything was read.
    fn clear(&mut self) {
        self.out.clear();
        self.read = 0;
    }

    /// Passes the next piece to `put`; see [`Outgoing::take_piece`].
    fn take_piece(
        &mut self,
        len: usize,
        put: impl FnOnce(*const u8, usize) -> Result,
    ) -> Result<usize> {
        if let (true, Some(tally)) = (self.read == self.out.len(), &mut self.tally) {
            return self.rest.take_piece(len, tally, put);
        }
        let bytes = &self.out[self.read..];
        let some = bytes.len().min(len);
        put(bytes.as_ptr(), some)?;
        self.read += some;
        Ok(some)
    }

    /// Appends the SDK's own records, and the end of the stream.
    fn finish<O: Migrate>(&mut self, cx: &Context) -> Result {
        if self.tally.is_some() {
            let mut writer = self.writer::<O>(cx, Phase::StopCopy);
            cx.save_config(|config| writer.own_record(Tag::CONFIG, false, config))?;
            // A destination that does not know the tag is no worse off than without the record.
            writer.own_record(Tag::INTERRUPT, true, &cx.irqs.save().encode())?;
            // Without it, a destination could lose the last event.
            if let Some(events) = cx.irqs.save_events(&mut [0; EVENTS_MAX]) {
                writer.own_record(Tag::EVENTS, false, events)?;
            }
        }
        if let Some(tally) = &self.tally {
            self.out
                .extend_from_slice(&tally.end(), GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }
}

/// A saving session.
pub(crate) struct Outgoing<O: Operations> {
    pub(super) phase: Phase,
    driver: <O as Migrate>::Saving,
    saved: Saved,
    /// Whether neither the driver nor the SDK has anything to add.
    finished: bool,
    /// Upper bound of the initial data that is left, which never grows. Any further data left is
    /// dirty data.
    initial: u64,
    /// The error with which the driver failed. It may have lost track of what it did not save, so
    /// nothing more is saved.
    failed: Option<Error>,
    /// The part of the stream that is in protocol v1's window.
    pub(crate) chunk: Chunk,
}

impl<O: Operations> Outgoing<O> {
    /// Begins a saving session with the match data.
    ///
    /// # Errors
    ///
    /// Returns the driver's error, or ENOMEM.
    pub(super) fn new(open: &Open<O>) -> Result<Self> {
        const { assert!(are_of_driver(O::RECORDS), "a tag of RECORDS is the SDK's") };
        let driver = &open.driver;
        let mut new = Outgoing {
            phase: Phase::PreCopy,
            driver: driver.start_saving()?,
            saved: Saved::new(open.cx.ty().codec),
            finished: false,
            initial: u64::MAX,
            failed: None,
            chunk: Chunk::default(),
        };
        if new.saved.tally.is_some() {
            let data = open.cx.ty().match_data(&O::FORMAT);
            let mut writer = new.saved.writer::<O>(&open.cx, new.phase);
            writer.own_record(Tag::MATCH, false, &data.encode())?;
        }
        Ok(new)
    }

    /// Returns whether a read would return data, an error or the end of the stream at once.
    pub(crate) fn is_readable(&self, open: &Open<O>) -> bool {
        let pending = || open.driver.pending(Some(&self.driver));
        self.phase == Phase::StopCopy
            || self.failed.is_some()
            || self.saved.len() > 0
            || matches!(pending(), Pending { initial, dirty, .. } if initial > 0 || dirty > 0)
    }

    /// Fills `len` bytes at `user` with what there is to save now, and returns the number of bytes;
    /// 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// ENOMSG if there is nothing now but there may be later; EFAULT if user space cannot be
    /// written; else the driver's error.
    pub(crate) fn read(&mut self, open: &Open<O>, user: UserPtr, len: usize) -> Result<usize> {
        let done = gather(|done| match len - done {
            0 => Ok(0),
            remaining => self.take_piece(open, remaining, |from, some| {
                let to = user.wrapping_byte_add(done).as_mut_ptr();
                // SAFETY: `take_piece` guarantees `some` readable bytes at `from`. The function
                // checks the user address.
                match unsafe { raw::copy_to_user(to, from.cast(), some) } {
                    0 => Ok(()),
                    _ => Err(EFAULT),
                }
            }),
        })?;
        if done == 0 && len > 0 && self.phase == Phase::PreCopy {
            return Err(raw::error(raw::ENOMSG));
        }
        Ok(done)
    }

    /// Fills the window of protocol v1 with the next chunk, and returns the number of bytes.
    ///
    /// User space may give up a session after any chunk and begin another one in the same stream. A
    /// loader looks for that between two records, so a chunk must end with a record. It holds what
    /// the driver saves in as many steps as fit into `enough`, but in at least one.
    ///
    /// # Errors
    ///
    /// Returns the driver's error, or ENOMEM.
    pub(crate) fn fill_window(&mut self, open: &Open<O>, enough: u64) -> Result<u64> {
        let enough = usize::try_from(enough)?;
        let most = v1::WINDOW as usize;
        let done = gather(|done| {
            let begins = self.ready(open)? > 0 && self.saved.read == 0;
            if begins && done > 0 && done + self.saved.len() > enough {
                return Ok(0);
            }
            self.take_piece(open, most - done, |from, some| {
                // SAFETY: `take_piece` guarantees `some` readable bytes at `from`.
                unsafe { open.cx.window.write_raw(done, from, some) }
            })
        })?;
        Ok(done as u64)
    }

    /// Passes the next saved piece, of at most `len` bytes, to `put`, as a pointer to that many
    /// readable bytes.
    ///
    /// Returns the length of the piece; 0 if there is nothing.
    fn take_piece(
        &mut self,
        open: &Open<O>,
        len: usize,
        put: impl FnOnce(*const u8, usize) -> Result,
    ) -> Result<usize> {
        if self.ready(open)? == 0 || len == 0 {
            return Ok(0);
        }
        self.saved.take_piece(len, put)
    }

    /// Returns the number of saved bytes to be read; 0 only if there is nothing to save now.
    fn ready(&mut self, open: &Open<O>) -> Result<usize> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        let ready = self.saved.len();
        if ready > 0 {
            return Ok(ready);
        }
        self.refill(open).inspect_err(|e| self.failed = Some(*e))?;
        Ok(self.saved.len())
    }

    /// Calls the driver until it has saved something or has nothing to save now.
    fn refill(&mut self, open: &Open<O>) -> Result {
        self.saved.clear();
        if self.phase == Phase::PreCopy {
            let remaining = open.driver.pending(Some(&self.driver)).initial;
            self.initial = self.initial.min(remaining);
        }
        while self.saved.out.is_empty() && !self.finished {
            let phase = self.phase;
            let mut writer = self.saved.writer::<O>(&open.cx, phase);
            let progress = open.driver.save(&mut self.driver, phase, &mut writer)?;
            match (progress, phase) {
                (Progress::More, _) if !self.saved.out.is_empty() => {}
                // Not again: a driver that reports more and writes nothing would be called forever.
                (Progress::More, _) => {
                    let rule = "save must write a record before it returns More";
                    open.cx.report_mistake(fmt!("{rule}"));
                    return Err(EIO);
                }
                (Progress::Done, Phase::PreCopy) => {
                    self.initial = 0;
                    break;
                }
                (Progress::Done, Phase::StopCopy) => {
                    self.finished = true;
                    self.saved.finish::<O>(&open.cx)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the value of protocol v1's `pending_bytes`.
    ///
    /// In STOP_COPY it must be 0 at the end of the stream and only there, whatever the driver
    /// estimates, so the next bytes are made ready first.
    pub(crate) fn pending(&mut self, open: &Open<O>) -> Result<u64> {
        if self.phase == Phase::PreCopy {
            let remaining = self.pre_copy(open);
            return Ok(remaining.initial.saturating_add(remaining.dirty));
        }
        let ready = self.ready(open)? as u64;
        Ok(match self.finished {
            true => ready,
            false => self.stop_copy(open).saturating_add(trailer(&open.cx)),
        })
    }

    /// Returns the remaining bytes for `VFIO_MIG_GET_PRECOPY_INFO`.
    pub(crate) fn pre_copy(&mut self, open: &Open<O>) -> PreCopyRemaining {
        let Pending { initial, dirty, .. } = open.driver.pending(Some(&self.driver));
        let buffered = self.saved.len() as u64;
        // Without the minimum, what a guest writes before the first pass would add to it.
        let initial = initial.saturating_add(buffered);
        self.initial = self.initial.min(initial);
        PreCopyRemaining {
            initial: self.initial,
            dirty: initial.saturating_add(dirty) - self.initial,
        }
    }

    /// Returns how many bytes of the driver's are left for STOP_COPY.
    fn stop_copy(&self, open: &Open<O>) -> u64 {
        let buffered = self.saved.len() as u64;
        let pending = open.driver.pending(Some(&self.driver)).stop_copy;
        pending.saturating_add(buffered)
    }
}

/// Returns whether no tag is one of the SDK's.
const fn are_of_driver(records: &[(Tag, usize)]) -> bool {
    let mut i = 0;
    while i < records.len() {
        if records[i].0 .0 < Tag::FIRST_DRIVER.0 {
            return false;
        }
        i += 1;
    }
    true
}

/// Calls `piece(bytes so far)` until it returns 0, and returns the number of bytes.
///
/// An error after some bytes is dropped; the next call returns it again.
fn gather(mut piece: impl FnMut(usize) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    loop {
        match piece(done) {
            Ok(0) => return Ok(done),
            Ok(some) => done += some,
            Err(_) if done > 0 => return Ok(done),
            Err(e) => return Err(e),
        }
    }
}

/// Returns the answer to `VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`: what STOP_COPY has yet to transfer.
pub(super) fn stop_copy_length<O: Operations>(open: &Open<O>, saving: Option<&Outgoing<O>>) -> u64 {
    let driver = match saving {
        Some(saving) => saving.stop_copy(open),
        // A session that is yet to begin begins with the match data.
        None => {
            let driver = open.driver.pending(None).stop_copy;
            driver.saturating_add((HEADER_LEN + MATCH_LEN) as u64)
        }
    };
    driver
        .saturating_add(trailer(&open.cx))
        .max(LEAST_STOP_COPY)
}
