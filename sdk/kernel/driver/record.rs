// SPDX-License-Identifier: GPL-2.0

//! Records: where [`Migrate::save`](super::Migrate::save) puts what it saves, and how they are
//! framed.
//!
//! Documentation/stream-format.md says what the SDK puts around a driver's records.

use crate::{base::raw, memory::DeviceMemory};
use core::ops::Range;
use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_model::stream::{Header, LoadError, StreamChecksum, Tag};

/// Where [`Migrate::save`](super::Migrate::save) puts what it saves.
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
    /// None if the driver frames the stream itself.
    pub(crate) tally: Option<&'a mut StreamChecksum>,
    /// The end of the last record, if it is to be taken from where it is. None while the device
    /// runs and what is there may change.
    pub(crate) rest: Option<&'a mut DeferredPayload>,
    /// The driver's [`RECORDS`](super::Migrate::RECORDS).
    pub(crate) known: &'static [(Tag, usize)],
}

impl RecordWriter<'_> {
    /// Writes a record that a destination has to know. EINVAL for one that this driver would
    /// refuse: its tag is the SDK's or not in [`RECORDS`](super::Migrate::RECORDS), or it is longer
    /// than said there.
    pub fn record(&mut self, tag: Tag, payload: &[u8]) -> Result {
        self.write(tag, false, payload)
    }

    /// Writes a record that a destination has to know, whose payload is `head` and behind it
    /// `bytes` of `memory`. Of a device that has stopped they are copied once, to user space, when
    /// that reads them.
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

    /// Writes a record that a destination may skip, if it does not know the tag.
    pub fn optional_record(&mut self, tag: Tag, payload: &[u8]) -> Result {
        self.write(tag, true, payload)
    }

    /// Writes bytes as they are; only with [`Codec::Own`](super::Codec::Own), else EINVAL.
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

    /// Whether the driver at the destination would take it.
    fn check(&self, tag: Tag, optional: bool, len: usize) -> Result {
        let known = self.known.iter().find(|(known, _)| *known == tag);
        let fits = known.map_or(optional, |(_, most)| len <= *most);
        match fits && tag.0 >= Tag::FIRST_DRIVER.0 {
            true => Ok(()),
            false => Err(EINVAL),
        }
    }

    /// Writes a record up to the last `more` bytes of its payload, for which there is room then.
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
        // All or nothing, so that an error leaves a whole number of records.
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
        Ok(())
    }
}

/// The end of a record that is still in the memory it is saved from; empty by default.
#[derive(Default)]
pub(crate) struct DeferredPayload(Option<(Arc<DeviceMemory>, Range<usize>)>);

impl DeferredPayload {
    /// `bytes` are inside of `memory`.
    pub(super) fn new(memory: Arc<DeviceMemory>, bytes: Range<usize>) -> Self {
        DeferredPayload(Some((memory, bytes)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Copies it behind `out`, and is empty then.
    pub(super) fn copy_behind(
        &mut self,
        out: &mut KVVec<u8>,
        tally: &mut StreamChecksum,
    ) -> Result {
        if let Some((memory, bytes)) = &self.0 {
            let before = out.len();
            out.extend_with(bytes.len(), 0, GFP_KERNEL_ACCOUNT)?;
            memory.read(bytes.start, &mut out[before..])?;
            tally.account(&out[before..]);
        }
        self.0 = None;
        Ok(())
    }

    /// Gives at most `len` bytes of it, not beyond a page, to `put`: a pointer that is good for
    /// reading so many bytes as is said with it. Returns how many it was.
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

/// CRC32C (Castagnoli) by the fastest means of the machine, without inversion at either end.
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

/// The errno for a refused stream, as mlx5 and virtio have it where they have it.
pub(crate) fn errno(refusal: LoadError) -> Error {
    match refusal {
        LoadError::UnknownRecord | LoadError::UnknownFlags => raw::error(raw::EOPNOTSUPP),
        LoadError::RecordTooLong | LoadError::NoMemory => ENOMEM,
        LoadError::WrongLength | LoadError::WrongChecksum => raw::error(raw::EBADMSG),
        LoadError::Killed => EINTR,
        _ => EINVAL,
    }
}
