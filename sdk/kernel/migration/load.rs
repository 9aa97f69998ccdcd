// SPDX-License-Identifier: GPL-2.0

//! The loading side of a session: checks a stream as it arrives, and commits it at the end.
//!
//! The device stays unchanged until [`Incoming::commit`], which cannot fail after the stream was
//! found complete: QEMU has no way to act on an error at that point.

use crate::{
    base::{raw, trace},
    driver::{crc32c, errno, Codec, Migrate, Open, Operations},
};
use core::mem;
use kernel::{current, prelude::*, uaccess::UserSliceReader};
use mdev_model::stream::{
    check_events, Interrupt, Known, LoadError, Loader, MatchData, Mismatch, Sink, Tag, EVENTS_MAX,
    INTERRUPT_LEN,
};

/// Number of bytes that are copied at a time from user space or the window of protocol v1.
const CHUNK: usize = 64 * 1024;

/// A loading session.
pub(crate) struct Incoming<O: Operations> {
    framing: Framing,
    /// `None` once it was committed.
    staged: Option<Staged<O>>,
    chunk: KVVec<u8>,
    /// The match data of the stream, if it has arrived.
    source: Option<MatchData>,
    /// Why the stream was refused, if it was.
    refused: Option<LoadError>,
}

enum Framing {
    /// The SDK's records.
    Records(Loader),
    /// The driver's own framing, with the number of bytes that have arrived.
    Own(u64),
}

/// State that has arrived and is not committed to the device yet.
struct Staged<O: Operations> {
    /// Whether no record has arrived yet.
    fresh: bool,
    driver: <O as Migrate>::Loading,
    config: Option<KVVec<u8>>,
    interrupt: Interrupt,
    /// The vectors that have sent an event, as in the stream.
    events: KVec<u8>,
    /// The payload of the record that is currently arriving.
    record: KVVec<u8>,
}

/// The sink of a [`Loader`]: the device, and the state that is staged for it.
struct Receiver<'a, O: Operations> {
    open: &'a Open<O>,
    /// `None` if there was no memory for it.
    staged: &'a mut Option<Staged<O>>,
    source: &'a mut Option<MatchData>,
}

impl<O: Operations> Receiver<'_, O> {
    /// Returns the state to which a record is added; `NoMemory` if there is none.
    fn staged(&mut self) -> Result<&mut Staged<O>, LoadError> {
        let staged = self.staged.as_mut().ok_or(LoadError::NoMemory)?;
        staged.fresh = false;
        Ok(staged)
    }
}

impl<O: Operations> Sink for Receiver<'_, O> {
    fn begin(&mut self, data: &MatchData) -> Result<(), LoadError> {
        *self.source = Some(*data);
        let ty = self.open.cx.ty();
        data.check(&O::FORMAT, ty.kind, ty.geometry)?;
        if !self.staged.as_ref().is_some_and(|staged| staged.fresh) {
            // Free the old state first: each can be as large as the device, and a stream may begin
            // anew again and again.
            *self.staged = None;
            // SAFETY: The current task is valid.
            if unsafe { raw::fatal_signal_pending(current!().as_ptr()) } {
                return Err(LoadError::Killed);
            }
            *self.staged = Some(Staged::new(self.open).map_err(|_| LoadError::NoMemory)?);
        }
        Ok(())
    }

    fn known(&self, tag: Tag) -> Known {
        let of_driver = || O::RECORDS.iter().find(|(known, _)| *known == tag);
        match tag {
            Tag::CONFIG => Known::UpTo(self.open.cx.identity().space_size() as u64),
            Tag::INTERRUPT => Known::UpTo(INTERRUPT_LEN as u64),
            Tag::EVENTS => Known::UpTo(EVENTS_MAX as u64),
            _ => of_driver().map_or(Known::No, |(_, most)| Known::UpTo(*most as u64)),
        }
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.staged()?
            .record
            .extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)
            .map_err(|_| LoadError::NoMemory)
    }

    fn record(&mut self, tag: Tag) -> Result<(), LoadError> {
        let open = self.open;
        let staged = self.staged()?;
        trace::load_record(open.cx.device(), tag.0, staged.record.len() as u64);
        if tag == Tag::CONFIG {
            let bytes = mem::take(&mut staged.record);
            if bytes.len() != open.cx.identity().space_size() {
                let rule = "configuration space has another length";
                return Err(LoadError::BadState(rule));
            }
            if !open.cx.is_config_of_same_device(&bytes) {
                return Err(LoadError::OtherConfig);
            }
            staged.config = Some(bytes);
        } else if tag == Tag::INTERRUPT {
            staged.interrupt = Interrupt::decode(&staged.record)?;
        } else if tag == Tag::EVENTS {
            check_events(&staged.record, open.cx.identity().vectors().max(1))?;
            staged.events.clear();
            let kept = staged
                .events
                .extend_from_slice(&staged.record, GFP_KERNEL_ACCOUNT);
            kept.map_err(|_| LoadError::NoMemory)?;
        } else {
            open.driver.load(&mut staged.driver, tag, &staged.record)?;
        }
        staged.record.clear();
        Ok(())
    }

    fn complete(&mut self) -> Result<(), LoadError> {
        let open = self.open;
        let staged = self.staged()?;
        if staged.config.is_none() {
            return Err(LoadError::BadState("configuration space is missing"));
        }
        open.driver.complete(&staged.driver)
    }
}

impl<O: Operations> Staged<O> {
    fn new(open: &Open<O>) -> Result<Self> {
        Ok(Staged {
            fresh: true,
            driver: open.driver.start_loading()?,
            config: None,
            interrupt: Interrupt::UNSAID,
            events: KVec::new(),
            record: KVVec::new(),
        })
    }
}

impl<O: Operations> Incoming<O> {
    /// Begins a loading session.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    pub(super) fn new(open: &Open<O>) -> Result<Self> {
        Ok(Incoming {
            framing: match open.cx.ty().codec {
                Codec::Records => Framing::Records(Loader::new(crc32c)),
                Codec::Own => Framing::Own(0),
            },
            staged: Some(Staged::new(open)?),
            chunk: KVVec::new(),
            source: None,
            refused: None,
        })
    }

    /// Takes bytes from `user` until its end, an address that cannot be read, or a signal, and
    /// returns the number of bytes.
    ///
    /// # Errors
    ///
    /// If the stream is refused, which is final and is logged once: the errno for the reason.
    /// ENODEV after that. EFAULT or ENOMEM if not even the first bytes could be copied.
    pub(crate) fn write(&mut self, open: &Open<O>, user: &mut UserSliceReader) -> Result<usize> {
        self.take(open, user.len(), |at, chunk| {
            if at > 0 && current!().signal_pending() {
                return Err(EINTR);
            }
            user.read_slice(chunk)
        })
    }

    /// Takes the first `len` bytes of protocol v1's window, all of them or none.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). A part that cannot be copied refuses the stream.
    pub(crate) fn take_window(&mut self, open: &Open<O>, len: u64) -> Result {
        let len = usize::try_from(len)?;
        let taken = self.take(open, len, |at, chunk| open.cx.window.read(at, chunk))?;
        if taken < len {
            // User space cannot tell how much was taken, so the rest is neither taken nor left out.
            return Err(self.refuse(open, LoadError::NoMemory));
        }
        Ok(())
    }

    /// Takes up to `len` bytes that `fetch(offset, chunk)` copies, and returns the number of bytes.
    fn take(
        &mut self,
        open: &Open<O>,
        len: usize,
        mut fetch: impl FnMut(usize, &mut [u8]) -> Result,
    ) -> Result<usize> {
        if self.refused.is_some() {
            return Err(ENODEV);
        }
        let mut done = 0;
        while done < len {
            let some = (len - done).min(CHUNK);
            let fetched = self
                .chunk
                .resize(some, 0, GFP_KERNEL_ACCOUNT)
                .map_err(Error::from)
                .and_then(|()| fetch(done, &mut self.chunk));
            match fetched {
                // The bytes before the error are taken; the next write returns it again.
                Err(_) if done > 0 => break,
                fetched => fetched?,
            }
            if let Err(refusal) = self.push(open) {
                return Err(self.refuse(open, refusal));
            }
            done += some;
        }
        Ok(done)
    }

    /// Refuses the stream for good, logs the reason, and returns the errno for it.
    fn refuse(&mut self, open: &Open<O>, refusal: LoadError) -> Error {
        self.refused = Some(refusal);
        match self.source {
            Some(source) if refusal.is_mismatch() => {
                let mismatch = Mismatch {
                    reason: refusal,
                    source,
                    destination: open.cx.ty().match_data(&O::FORMAT),
                    oldest: O::FORMAT.oldest,
                };
                open.cx.report_refusal(format_args!("{mismatch}"));
            }
            _ => open.cx.report_refusal(format_args!("{}", refusal.reason())),
        }
        errno(refusal)
    }

    /// Passes the current chunk to the loader or the driver.
    fn push(&mut self, open: &Open<O>) -> Result<(), LoadError> {
        match &mut self.framing {
            Framing::Records(loader) => {
                let (staged, source) = (&mut self.staged, &mut self.source);
                let mut receiver = Receiver {
                    open,
                    staged,
                    source,
                };
                loader.push(&self.chunk, &mut receiver)
            }
            Framing::Own(offset) => {
                let staged = self.staged.as_mut().ok_or(LoadError::NoMatchData)?;
                let at = *offset;
                *offset += self.chunk.len() as u64;
                open.driver.load_raw(&mut staged.driver, at, &self.chunk)
            }
        }
    }

    /// Commits the staged state to the device.
    ///
    /// # Errors
    ///
    /// EINVAL if what has arrived is not a whole state; nothing else.
    pub(super) fn commit(&mut self, open: &Open<O>) -> Result {
        let staged = self.staged.take_if(|staged| {
            self.refused.is_none()
                && match &self.framing {
                    Framing::Records(loader) => loader.is_complete(),
                    Framing::Own(_) => {
                        let complete = open.driver.complete(&staged.driver);
                        let report = |e: &LoadError| {
                            open.cx.report_refusal(format_args!("{}", e.reason()));
                        };
                        complete.inspect_err(report).is_ok()
                    }
                }
        });
        let staged = staged.ok_or(EINVAL)?;
        if let Some(config) = &staged.config {
            open.cx.restore_config(config);
        }
        open.cx.irqs.restore(staged.interrupt, &staged.events);
        open.driver.commit(&open.cx, staged.driver);
        Ok(())
    }
}
