// SPDX-License-Identifier: GPL-2.0

//! Records: the writer to which [`Migrate::save`](super::Migrate::save) saves, and their framing.
//!
//! Documentation/stream-format.md describes what the SDK adds to a driver's records.

use super::Context;
use crate::{
    base::{raw, trace},
    memory::DeviceMemory,
};
use core::ops::Range;
use kernel::{fmt, page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_model::stream::{Header, LoadError, StreamChecksum, Tag};

/// The writer to which [`Migrate::save`](super::Migrate::save) saves.
///
/// # Examples
///
/// ```
/// # use core::ops::Range;
/// # use kernel::{prelude::*, sync::Arc};
/// # use mdev_sdk::{model::stream::Tag, DeviceMemory, RecordWriter};
/// const REGISTERS: Tag = Tag(Tag::FIRST_DRIVER.0);
/// const MEMORY: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);
/// const STATISTICS: Tag = Tag(Tag::FIRST_DRIVER.0 + 2);
///
/// fn save(
///     registers: &[u8],
///     memory: &Arc<DeviceMemory>,
///     bytes: Range<usize>,
///     out: &mut RecordWriter<'_>,
/// ) -> Result {
///     out.record(REGISTERS, registers)?;
///     // The payload is the offset, then the bytes.
///     let head = (bytes.start as u64).to_le_bytes();
///     out.memory_record(MEMORY, &head, memory, bytes)?;
///     // A destination that does not know the tag skips it.
///     out.optional_record(STATISTICS, &[0; 8])
/// }
/// ```
pub struct RecordWriter<'a> {
    pub(crate) out: &'a mut KVVec<u8>,
    /// The checksum of the stream; `None` if the driver frames the stream itself.
    pub(crate) tally: Option<&'a mut StreamChecksum>,
    /// The place for a payload whose last part is copied later, from where it is. `None` while the
    /// device runs, when that part may still change.
    pub(crate) rest: Option<&'a mut DeferredPayload>,
    /// The driver's [`RECORDS`](super::Migrate::RECORDS).
    pub(crate) known: &'static [(Tag, usize)],
    /// The device, whose log names the rule that a record breaks.
    pub(crate) cx: &'a Context,
}

impl RecordWriter<'_> {
    /// Writes a record that the destination must know.
    ///
    /// # Errors
    ///
    /// EINVAL if this driver would refuse the record: `tag` is the SDK's or not in
    /// [`RECORDS`](super::Migrate::RECORDS), or `payload` is longer than given there. EINVAL with
    /// [`Codec::Own`](super::Codec::Own). ENOMEM if there is no memory to buffer it.
    pub fn record(&mut self, tag: Tag, payload: &[u8]) -> Result {
        self.write(tag, false, payload)
    }

    /// Writes a record that the destination must know, whose payload is `head` followed by `bytes`
    /// of `memory`.
    ///
    /// If the device is stopped, `bytes` are copied only once, when user space reads them.
    ///
    /// # Errors
    ///
    /// EINVAL if `bytes` are out of bounds of `memory`; else as for [`record`](Self::record).
    pub fn memory_record(
        &mut self,
        tag: Tag,
        head: &[u8],
        memory: &Arc<DeviceMemory>,
        bytes: Range<usize>,
    ) -> Result {
        if bytes.start > bytes.end || bytes.end > memory.size() {
            return Err(EINVAL);
        }
        self.check(tag, false, head.len() + bytes.len())?;
        self.begin(tag, false, head, bytes.len())?;
        let mut rest = DeferredPayload::new(memory.clone(), bytes);
        match (&mut self.rest, &mut self.tally) {
            (Some(place), _) => **place = rest,
            (None, Some(tally)) => rest.copy_behind(self.out, tally)?,
            (None, None) => return Err(EINVAL),
        }
        Ok(())
    }

    /// Writes a record that a destination may skip if it does not know the tag.
    ///
    /// # Errors
    ///
    /// EINVAL if `tag` is the SDK's, or `payload` is longer than
    /// [`RECORDS`](super::Migrate::RECORDS) says; else as for [`record`](Self::record).
    pub fn optional_record(&mut self, tag: Tag, payload: &[u8]) -> Result {
        self.write(tag, true, payload)
    }

    /// Writes bytes without framing.
    ///
    /// # Errors
    ///
    /// EINVAL unless the codec is [`Codec::Own`](super::Codec::Own); ENOMEM if there is no memory
    /// to buffer them.
    pub fn raw(&mut self, bytes: &[u8]) -> Result {
        if self.tally.is_some() {
            return Err(EINVAL);
        }
        Ok(self.out.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)?)
    }

    /// Writes a record of the SDK's own.
    pub(crate) fn own_record(&mut self, tag: Tag, optional: bool, payload: &[u8]) -> Result {
        self.begin(tag, optional, payload, 0)
    }

    fn write(&mut self, tag: Tag, optional: bool, payload: &[u8]) -> Result {
        self.check(tag, optional, payload.len())?;
        self.begin(tag, optional, payload, 0)
    }

    /// Checks that the driver at the destination would take the record; EINVAL if not.
    fn check(&self, tag: Tag, optional: bool, len: usize) -> Result {
        let known = self.known.iter().find(|(known, _)| *known == tag);
        let mistake = |rule: fmt::Arguments<'_>| {
            self.cx.report_mistake(rule);
            Err(EINVAL)
        };
        let Tag(number) = tag;
        match known {
            _ if number < Tag::FIRST_DRIVER.0 => {
                mistake(fmt!("tag {number:#x} of a record is the SDK's"))
            }
            None if !optional => mistake(fmt!("tag {number:#x} of a record is not in RECORDS")),
            Some((_, most)) if len > *most => mistake(fmt!(
                "a record with tag {number:#x} has {len} bytes, RECORDS says {most} at most"
            )),
            _ => Ok(()),
        }
    }

    /// Writes a record except for the last `more` bytes of its payload.
    ///
    /// Without a place for a deferred payload it reserves room for these too.
    fn begin(&mut self, tag: Tag, optional: bool, payload: &[u8], more: usize) -> Result {
        let Some(tally) = &mut self.tally else {
            return Err(EINVAL);
        };
        let size = payload.len() + more;
        let header = Header {
            size: size as u64,
            optional,
            tag,
        }
        .encode();
        // All or nothing: after an error, `out` holds whole records only.
        let mut room = header.len() + payload.len();
        match &mut self.rest {
            Some(rest) => rest.copy_behind(self.out, tally)?,
            None => room += more,
        }
        self.out.reserve(room, GFP_KERNEL_ACCOUNT)?;
        self.out.extend_from_slice(&header, GFP_KERNEL_ACCOUNT)?;
        self.out.extend_from_slice(payload, GFP_KERNEL_ACCOUNT)?;
        tally.account(&header);
        tally.account(payload);
        trace::save_record(self.cx.device(), tag.0, size as u64);
        Ok(())
    }
}

/// The last part of a record's payload, still in the memory that it is saved from; empty by
/// default.
///
/// # Invariants
///
/// The range of bytes is in bounds of the memory.
#[derive(Default)]
pub(crate) struct DeferredPayload(Option<(Arc<DeviceMemory>, Range<usize>)>);

impl DeferredPayload {
    /// Creates the payload of `bytes` of `memory`, which must be in bounds.
    fn new(memory: Arc<DeviceMemory>, bytes: Range<usize>) -> Self {
        // INVARIANT: The caller guarantees that `bytes` are in bounds of `memory`.
        DeferredPayload(Some((memory, bytes)))
    }

    /// Returns how many bytes remain.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Appends the rest of the payload to `out`, and leaves `self` empty.
    ///
    /// # Errors
    ///
    /// ENOMEM if `out` cannot grow.
    fn copy_behind(&mut self, out: &mut KVVec<u8>, tally: &mut StreamChecksum) -> Result {
        if let Some((memory, bytes)) = &self.0 {
            let before = out.len();
            out.extend_with(bytes.len(), 0, GFP_KERNEL_ACCOUNT)?;
            memory.read(bytes.start, &mut out[before..])?;
            tally.account(&out[before..]);
        }
        self.0 = None;
        Ok(())
    }

    /// Passes the next piece, of at most `len` bytes and within one page, to `put`, as a pointer to
    /// that many readable bytes.
    ///
    /// Returns the length of the piece; 0 if nothing remains.
    ///
    /// # Errors
    ///
    /// Returns the error of `put`; nothing is taken then.
    pub(crate) fn take_piece(
        &mut self,
        len: usize,
        tally: &mut StreamChecksum,
        put: impl FnOnce(*const u8, usize) -> Result,
    ) -> Result<usize> {
        let Some((memory, bytes)) = &mut self.0 else {
            return Ok(0);
        };
        let some = (PAGE_SIZE - bytes.start % PAGE_SIZE)
            .min(bytes.len())
            .min(len);
        tally.try_account(some, |crc| {
            memory.copy_out(bytes.start, some, crc, |from| put(from, some))
        })?;
        bytes.start += some;
        Ok(some)
    }
}

/// Continues a CRC32C (Castagnoli) from `seed` over `data`, without inversion at either end.
///
/// C counterpart: `crc32c()` in [`include/linux/crc32.h`](srctree/include/linux/crc32.h)
///
/// # Examples
///
/// ```
/// # use mdev_sdk::crc32c;
/// /// Returns the CRC32C of `data` as iSCSI and ext4 define it: inverted at both ends.
/// fn checksum(data: &[u8]) -> u32 {
///     !crc32c(!0, data)
/// }
/// ```
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: The pointer and the length are those of a slice.
    unsafe { raw::crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// Returns the errno for a refused stream: that of mlx5 and virtio for the cases that they know.
pub(crate) fn errno(refusal: LoadError) -> Error {
    match refusal {
        LoadError::UnknownRecord | LoadError::UnknownFlags => raw::error(raw::EOPNOTSUPP),
        LoadError::RecordTooLong | LoadError::NoMemory => ENOMEM,
        LoadError::WrongLength | LoadError::WrongChecksum => raw::error(raw::EBADMSG),
        LoadError::Killed => EINTR,
        _ => EINVAL,
    }
}
