// SPDX-License-Identifier: GPL-2.0

//! The outgoing side of a session: what the driver saves, as a file that is read.

use crate::{
    device::{Device, Open},
    device_memory::DeviceMemory,
    migrate::{crc32c, Codec, Migrate, Pending, Phase, Progress, RecordWriter},
    raw,
};
use core::ops::Range;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::{UserPtr, UserSlice},
};
use mdev_model::{
    config,
    stream::{MatchData, Tag, Tally, END_LEN, HEADER_LEN},
};

/// QEMU sizes its buffer by this answer and cannot do with little.
const LEAST_STOP_COPY: u64 = 4096;

/// What the SDK adds to the driver's records in STOP_COPY.
const TRAILER: u64 = (2 * HEADER_LEN + config::SIZE + END_LEN) as u64;

/// How much [`Outgoing::pre_copy`] says is left.
pub(crate) struct PreCopyLeft {
    pub(crate) initial: u64,
    pub(crate) dirty: u64,
}

/// The end of a record that is still in the memory it is saved from; empty by default.
#[derive(Default)]
pub(crate) struct Rest {
    memory: Option<Arc<DeviceMemory>>,
    bytes: Range<usize>,
}

impl Rest {
    /// `bytes` are inside of `memory`.
    pub(crate) fn new(memory: Arc<DeviceMemory>, bytes: Range<usize>) -> Self {
        Rest {
            memory: Some(memory),
            bytes,
        }
    }

    /// Copies it behind `out`, and is empty then.
    pub(crate) fn copy_behind(&mut self, out: &mut KVVec<u8>, tally: &mut Tally) -> Result {
        if let Some(memory) = &self.memory {
            let before = out.len();
            out.extend_with(self.bytes.len(), 0, GFP_KERNEL_ACCOUNT)?;
            memory.read(self.bytes.start, &mut out[before..])?;
            tally.account(&out[before..]);
        }
        *self = Rest::default();
        Ok(())
    }

    /// Copies at most `len` bytes of it to user space, not beyond a page.
    fn copy_to_user(&mut self, user: UserPtr, len: usize, tally: &mut Tally) -> Result<usize> {
        let from = self.bytes.start;
        let some = (PAGE_SIZE - from % PAGE_SIZE)
            .min(self.bytes.len())
            .min(len);
        if let Some(memory) = &self.memory {
            tally.try_account(some, |crc| memory.copy_to_user(from, some, user, crc))?;
        }
        self.bytes.start += some;
        Ok(some)
    }
}

/// A saving session.
pub(crate) struct Outgoing<T: Device> {
    pub(crate) phase: Phase,
    driver: <T as Migrate>::Saving,
    /// None if the driver frames the stream itself.
    tally: Option<Tally>,
    /// Saved and not yet read: from `read` on.
    out: KVVec<u8>,
    read: usize,
    /// What comes behind that.
    rest: Rest,
    /// The driver and the SDK have nothing to add any more.
    finished: bool,
    /// Initial data was read to its end once: what comes now is dirty data.
    initial_read: bool,
    /// What the driver failed with. It may have forgotten what it could not save, so there is no more.
    failed: Option<Error>,
}

impl<T: Device> Outgoing<T> {
    /// Begins a session; its match data is the first that can be read.
    pub(crate) fn new(open: &Open<T>) -> Result<Self> {
        let driver = &open.driver;
        let mut new = Outgoing {
            phase: Phase::PreCopy,
            driver: driver.start_saving()?,
            tally: (driver.codec() == Codec::Records).then(|| Tally::new(crc32c)),
            out: KVVec::new(),
            read: 0,
            rest: Rest::default(),
            finished: false,
            initial_read: false,
            failed: None,
        };
        if new.tally.is_some() {
            let data = MatchData::new(&T::FORMAT, driver.kind(), driver.geometry());
            new.writer().record(Tag::MATCH, &data.encode())?;
        }
        Ok(new)
    }

    fn writer(&mut self) -> RecordWriter<'_> {
        RecordWriter {
            out: &mut self.out,
            tally: self.tally.as_mut(),
            rest: (self.phase == Phase::StopCopy).then_some(&mut self.rest),
        }
    }

    /// How many bytes are saved and not yet read.
    fn ready(&self) -> usize {
        self.out.len() - self.read + self.rest.bytes.len()
    }

    /// Whether a read would give data or the end of the stream at once.
    pub(crate) fn is_readable(&self, open: &Open<T>) -> bool {
        let pending = || open.driver.pending(Some(&self.driver));
        self.phase == Phase::StopCopy
            || self.ready() > 0
            || matches!(pending(), Pending { initial, dirty, .. } if initial + dirty > 0)
    }

    /// Fills `len` bytes of user space, as far as there is something to save now. ENOMSG: nothing now,
    /// but later; 0: the end of the stream.
    pub(crate) fn read(&mut self, open: &Open<T>, user: UserPtr, len: usize) -> Result<usize> {
        let mut done = 0;
        while done < len {
            match self.read_piece(open, user.wrapping_byte_add(done), len - done) {
                Ok(0) if done == 0 && self.phase == Phase::PreCopy => {
                    return Err(raw::error(raw::ENOMSG));
                }
                Ok(0) => break,
                Ok(some) => done += some,
                // What was read before is user space's; the error shows again at the next read.
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Copies a piece of what is saved; 0 if there is nothing.
    fn read_piece(&mut self, open: &Open<T>, user: UserPtr, len: usize) -> Result<usize> {
        if let Some(e) = self.failed {
            return Err(e);
        }
        if self.ready() == 0 && !self.refill(open).inspect_err(|e| self.failed = Some(*e))? {
            return Ok(0);
        }
        if let (true, Some(tally)) = (self.read == self.out.len(), &mut self.tally) {
            return self.rest.copy_to_user(user, len, tally);
        }
        let some = (self.out.len() - self.read).min(len);
        let mut user = UserSlice::new(user, some).writer();
        user.write_slice(&self.out[self.read..self.read + some])?;
        self.read += some;
        Ok(some)
    }

    /// Asks the driver for more; whether there is any.
    fn refill(&mut self, open: &Open<T>) -> Result<bool> {
        self.out.clear();
        self.read = 0;
        while self.out.is_empty() && !self.finished {
            let phase = self.phase;
            let mut writer = RecordWriter {
                out: &mut self.out,
                tally: self.tally.as_mut(),
                rest: (phase == Phase::StopCopy).then_some(&mut self.rest),
            };
            let progress = open.driver.save(&mut self.driver, phase, &mut writer)?;
            match (progress, phase) {
                (Progress::More, _) if !self.out.is_empty() => {}
                // A driver that promises more and delivers nothing would be asked for ever.
                (Progress::More, _) => return Err(EIO),
                (Progress::Done, Phase::PreCopy) => {
                    self.initial_read = true;
                    break;
                }
                (Progress::Done, Phase::StopCopy) => self.finish(open)?,
            }
        }
        Ok(!self.out.is_empty())
    }

    /// Adds what the SDK itself has to say at the end.
    fn finish(&mut self, open: &Open<T>) -> Result {
        self.finished = true;
        if self.tally.is_some() {
            let config = *open.dev.config.lock().bytes();
            self.writer().record(Tag::CONFIG, &config)?;
        }
        if let Some(tally) = &self.tally {
            self.out
                .extend_from_slice(&tally.end(), GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    /// For `VFIO_MIG_GET_PRECOPY_INFO`.
    pub(crate) fn pre_copy(&self, open: &Open<T>) -> PreCopyLeft {
        let pending = open.driver.pending(Some(&self.driver));
        let buffered = self.ready() as u64;
        if self.initial_read {
            PreCopyLeft {
                initial: pending.initial,
                dirty: pending.dirty + buffered,
            }
        } else {
            PreCopyLeft {
                initial: pending.initial + buffered,
                dirty: pending.dirty,
            }
        }
    }

    fn stop_copy(&self, open: &Open<T>) -> u64 {
        let buffered = self.ready() as u64;
        open.driver.pending(Some(&self.driver)).stop_copy + buffered
    }
}

/// For `VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`: what STOP_COPY would still carry.
pub(crate) fn stop_copy_length<T: Device>(open: &Open<T>, saving: Option<&Outgoing<T>>) -> u64 {
    let driver = match saving {
        Some(saving) => saving.stop_copy(open),
        None => open.driver.pending(None).stop_copy,
    };
    (driver + TRAILER).max(LEAST_STOP_COPY)
}
