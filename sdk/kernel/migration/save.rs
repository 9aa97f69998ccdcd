// SPDX-License-Identifier: GPL-2.0

//! The outgoing side of a session: what the driver saves, as a stream that is taken piece by piece.

use crate::{
    base::raw,
    driver::RecordWriter,
    driver::{crc32c, Codec, DeferredPayload, Migrate, Open, Operations, Pending, Phase, Progress},
};
use kernel::{prelude::*, uaccess::UserPtr};
use mdev_model::{
    config,
    stream::{Interrupt, MatchData, StreamChecksum, Tag, END_LEN, HEADER_LEN, INTERRUPT_LEN},
    v1::{self, Chunk},
};

/// QEMU sizes its buffer by this answer and cannot do with little.
const LEAST_STOP_COPY: u64 = 4096;

/// What the SDK adds to the driver's records in STOP_COPY.
const TRAILER: u64 = (3 * HEADER_LEN + config::SIZE + INTERRUPT_LEN + END_LEN) as u64;

/// What [`Outgoing::pre_copy`] says remains.
pub(crate) struct PreCopyRemaining {
    pub(crate) initial: u64,
    pub(crate) dirty: u64,
}

/// What is saved and not yet read.
struct Saved {
    /// None if the driver frames the stream itself.
    tally: Option<StreamChecksum>,
    /// From `read` on.
    out: KVVec<u8>,
    read: usize,
    /// What comes behind that.
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

    fn len(&self) -> usize {
        self.out.len() - self.read + self.rest.len()
    }

    /// For what the driver saves in `phase`.
    fn writer<O: Migrate>(&mut self, phase: Phase) -> RecordWriter<'_> {
        RecordWriter {
            out: &mut self.out,
            tally: self.tally.as_mut(),
            rest: (phase == Phase::StopCopy).then_some(&mut self.rest),
            known: O::RECORDS,
        }
    }

    /// Everything was read: there is room for more.
    fn clear(&mut self) {
        self.out.clear();
        self.read = 0;
    }

    /// See [`Outgoing::take_piece`].
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

    /// Adds what the SDK itself has to say at the end: `config`, `interrupt`, and the end of the
    /// stream.
    fn finish<O: Migrate>(&mut self, config: &[u8], interrupt: Interrupt) -> Result {
        if self.tally.is_some() {
            let mut writer = self.writer::<O>(Phase::StopCopy);
            writer.own_record(Tag::CONFIG, false, config)?;
            // A destination that does not know of it is no worse off than before there was one.
            writer.own_record(Tag::INTERRUPT, true, &interrupt.encode())?;
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
    pub(crate) phase: Phase,
    driver: <O as Migrate>::Saving,
    saved: Saved,
    /// The driver and the SDK have nothing to add any more.
    finished: bool,
    /// How much initial data is left at most: it never becomes more. What is left of what is saved
    /// then is dirty data.
    initial: u64,
    /// What the driver failed with. It may have forgotten what it could not save, so there is no
    /// more.
    failed: Option<Error>,
    /// What of the stream is in the window of protocol v1.
    pub(crate) chunk: Chunk,
}

impl<O: Operations> Outgoing<O> {
    /// Begins a session; its match data is the first that can be read.
    pub(crate) fn new(open: &Open<O>) -> Result<Self> {
        const { assert!(are_of_driver(O::RECORDS), "a tag of RECORDS is the SDK's") };
        let driver = &open.driver;
        let mut new = Outgoing {
            phase: Phase::PreCopy,
            driver: driver.start_saving()?,
            saved: Saved::new(driver.codec()),
            finished: false,
            initial: u64::MAX,
            failed: None,
            chunk: Chunk::default(),
        };
        if new.saved.tally.is_some() {
            let data = MatchData::new(&O::FORMAT, driver.kind(), driver.geometry());
            let mut writer = new.saved.writer::<O>(new.phase);
            writer.own_record(Tag::MATCH, false, &data.encode())?;
        }
        Ok(new)
    }

    /// Whether a read would give data, an error or the end of the stream at once.
    pub(crate) fn is_readable(&self, open: &Open<O>) -> bool {
        let pending = || open.driver.pending(Some(&self.driver));
        self.phase == Phase::StopCopy
            || self.failed.is_some()
            || self.saved.len() > 0
            || matches!(pending(), Pending { initial, dirty, .. } if initial + dirty > 0)
    }

    /// Fills `len` bytes of user space, as far as there is something to save now. ENOMSG: nothing
    /// now, but later; 0: the end of the stream.
    pub(crate) fn read(&mut self, open: &Open<O>, user: UserPtr, len: usize) -> Result<usize> {
        let done = gather(|done| match len - done {
            0 => Ok(0),
            remaining => self.take_piece(open, remaining, |from, some| {
                let to = user.wrapping_byte_add(done).as_mut_ptr();
                // SAFETY: `from` is good for `some` bytes. The function checks the address of user
                // space.
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

    /// Puts what comes next into the window of protocol v1, and says how many bytes it was.
    ///
    /// User space may give a session up after any chunk and begin another one in the same stream. A
    /// loader looks for that between two records, so a chunk ends with one: it has what the driver
    /// saves in each step while that fits into `enough`, or the one step that does not.
    pub(crate) fn fill_window(&mut self, open: &Open<O>, enough: u64) -> Result<u64> {
        let enough = usize::try_from(enough)?;
        let most = v1::WINDOW as usize;
        let done = gather(|done| {
            let begins = self.ready(open)? > 0 && self.saved.read == 0;
            if begins && done > 0 && done + self.saved.len() > enough {
                return Ok(0);
            }
            self.take_piece(open, most - done, |from, some| {
                // SAFETY: `from` is good for `some` bytes.
                unsafe { open.cx.window.write_raw(done, from, some) }
            })
        })?;
        Ok(done as u64)
    }

    /// Gives a piece of what is saved, of at most `len` bytes, to `put`: a pointer that is good for
    /// reading so many bytes as is said with it. Returns how many it was, 0 if there is nothing.
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

    /// How many bytes are saved and not yet read; 0 only if there is nothing to save now.
    fn ready(&mut self, open: &Open<O>) -> Result<usize> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        if self.saved.len() == 0 {
            self.refill(open).inspect_err(|e| self.failed = Some(*e))?;
        }
        Ok(self.saved.len())
    }

    /// Asks the driver for more.
    fn refill(&mut self, open: &Open<O>) -> Result {
        self.saved.clear();
        if self.phase == Phase::PreCopy {
            let remaining = open.driver.pending(Some(&self.driver)).initial;
            self.initial = self.initial.min(remaining);
        }
        while self.saved.out.is_empty() && !self.finished {
            let phase = self.phase;
            let mut writer = self.saved.writer::<O>(phase);
            let progress = open.driver.save(&mut self.driver, phase, &mut writer)?;
            match (progress, phase) {
                (Progress::More, _) if !self.saved.out.is_empty() => {}
                // A driver that promises more and delivers nothing would be asked for ever.
                (Progress::More, _) => return Err(EIO),
                (Progress::Done, Phase::PreCopy) => {
                    self.initial = 0;
                    break;
                }
                (Progress::Done, Phase::StopCopy) => {
                    self.finished = true;
                    let config = open.cx.save_config();
                    self.saved.finish::<O>(&config, open.cx.irqs.save())?;
                }
            }
        }
        Ok(())
    }

    /// For `pending_bytes` of protocol v1. In STOP_COPY it is 0 at the end and not before, whatever
    /// the driver estimates, so what comes next is made ready.
    pub(crate) fn pending(&mut self, open: &Open<O>) -> Result<u64> {
        if self.phase == Phase::PreCopy {
            let remaining = self.pre_copy(open);
            return Ok(remaining.initial + remaining.dirty);
        }
        let ready = self.ready(open)? as u64;
        Ok(match self.finished {
            true => ready,
            false => self.stop_copy(open) + TRAILER,
        })
    }

    /// For `VFIO_MIG_GET_PRECOPY_INFO`.
    pub(crate) fn pre_copy(&mut self, open: &Open<O>) -> PreCopyRemaining {
        let Pending { initial, dirty, .. } = open.driver.pending(Some(&self.driver));
        let buffered = self.saved.len() as u64;
        // What a guest writes ahead of the first pass would make it more.
        self.initial = self.initial.min(initial + buffered);
        PreCopyRemaining {
            initial: self.initial,
            dirty: initial + dirty + buffered - self.initial,
        }
    }

    fn stop_copy(&self, open: &Open<O>) -> u64 {
        let buffered = self.saved.len() as u64;
        open.driver.pending(Some(&self.driver)).stop_copy + buffered
    }
}

/// Whether no tag is one of the SDK's.
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

/// Calls `piece(bytes so far)` for more until there is none; how many bytes it was. What was taken
/// before an error is user space's; the error shows again at the next call.
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

/// For `VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`: what STOP_COPY would still carry.
pub(crate) fn stop_copy_length<O: Operations>(open: &Open<O>, saving: Option<&Outgoing<O>>) -> u64 {
    let driver = match saving {
        Some(saving) => saving.stop_copy(open),
        None => open.driver.pending(None).stop_copy,
    };
    (driver + TRAILER).max(LEAST_STOP_COPY)
}
