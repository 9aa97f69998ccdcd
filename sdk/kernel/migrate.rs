// SPDX-License-Identifier: GPL-2.0

//! The [`Migrate`] trait: how a device's state leaves and arrives.
//!
//! A driver neither learns which of VFIO's protocols is in use nor sees a state machine, a file or a
//! length it has not asked for. Documentation/stream-format.md says what the SDK puts around its
//! records.

use crate::{device_memory::DeviceMemory, open::OpenDevice, raw, save::Rest};
use core::ops::Range;
use kernel::{prelude::*, sync::Arc};
use mdev_model::stream::{Format, Header, Name, Refusal, Tag, Tally};

pub(crate) use crate::{file::ops, session::Link};

/// The part of a saving session that the device is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The device runs: what is saved now may change again.
    PreCopy,
    /// The device is quiescent: everything that is still missing has to be saved.
    StopCopy,
}

/// Whether a call of [`Migrate::save`] is to be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to save now; at least one record was written.
    More,
    /// There is nothing more to save now (PRE_COPY) or at all (STOP_COPY).
    Done,
}

/// Bytes that a device would still save: its records with their headers, without the SDK's own records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Still to be saved once before the device stops.
    pub initial: u64,
    /// Changed since it was saved.
    pub dirty: u64,
    /// What STOP_COPY would save if the device stopped now.
    pub stop_copy: u64,
}

/// Who frames the stream of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The SDK: records, match data first, checksum last.
    Records,
    /// The driver: whatever it writes and reads, for instance another driver's format. There is no
    /// checksum, so [`Migrate::load_raw`] and [`Migrate::complete`] have to check everything.
    Own,
}

/// The state of a device, leaving and arriving.
///
/// Of one open device, one method is called at a time, with a lock of the SDK's held. Its `read` and
/// `write` (see [`Device`](crate::Device)) go on meanwhile, and so does everything of other devices.
#[vtable]
pub trait Migrate {
    /// Name and version of the driver's records.
    const FORMAT: Format;
    /// The tags that [`load`](Self::load) knows, each with the most bytes that a payload can have. They
    /// are [`Tag::FIRST_DRIVER`] or above; the driver does not build with another one.
    /// The SDK allocates no more than that, and not before that much has arrived.
    const RECORDS: &'static [(Tag, usize)];

    /// What a saving session has to remember: a position, say.
    type Saving: Send + Unpin;
    /// State that arrived and is not the device's yet.
    type Loading: Send + Unpin;

    /// Who frames the stream.
    fn codec(&self) -> Codec {
        Codec::Records
    }

    /// The device type that source and destination must have in common.
    fn kind(&self) -> Name;

    /// Sizes that source and destination must have in common; 0 for those not needed.
    fn geometry(&self) -> [u64; 2];

    /// The device stops: when this returns it does no DMA and changes nothing by itself, until it runs
    /// again or is reset. An error leaves it running.
    fn quiesce(&self, dev: &OpenDevice) -> Result;

    /// The device runs again. Interrupts that were due have been signalled.
    fn resume(&self, dev: &OpenDevice);

    /// A saving session begins.
    fn start_saving(&self) -> Result<Self::Saving>;

    /// What would still be saved; `saving` is none outside of a session. Cheap: user space asks often.
    fn pending(&self, saving: Option<&Self::Saving>) -> Pending;

    /// Saves some more: less than the 16 MiB of protocol v1's window a call, and better some MiB, for the
    /// SDK buffers it. An error ends the session for user space.
    fn save(
        &self,
        saving: &mut Self::Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress>;

    /// A loading session begins; or another one does in the stream of the last, of which records have
    /// arrived, and then an error is ENOMEM to user space.
    fn start_loading(&self) -> Result<Self::Loading>;

    /// A record arrived. The tag is one of [`RECORDS`](Self::RECORDS) and the payload not longer than
    /// said there; everything else about it is to be checked here.
    fn load(&self, loading: &mut Self::Loading, tag: Tag, payload: &[u8]) -> Result<(), Refusal>;

    /// Bytes of a stream of the driver's own framing arrived; `offset` is their place in the stream.
    /// A driver with [`Codec::Own`] has to implement it.
    fn load_raw(
        &self,
        _loading: &mut Self::Loading,
        _offset: u64,
        _bytes: &[u8],
    ) -> Result<(), Refusal> {
        Err(Refusal::NotOurs)
    }

    /// Whether what arrived is a whole state, so that [`commit`](Self::commit) cannot fail. Asked at the
    /// end record; of a stream with [`Codec::Own`], which has none, when user space leaves RESUMING.
    fn complete(&self, loading: &Self::Loading) -> Result<(), Refusal>;

    /// What arrived becomes the state of the device, which is stopped.
    fn commit(&self, dev: &OpenDevice, loading: Self::Loading);
}

/// Where [`Migrate::save`] puts what it saves.
pub struct RecordWriter<'a> {
    pub(crate) out: &'a mut KVVec<u8>,
    /// None if the driver frames the stream itself.
    pub(crate) tally: Option<&'a mut Tally>,
    /// The end of the last record, if it is to be taken from where it is. None while the device runs and
    /// what is there may change.
    pub(crate) rest: Option<&'a mut Rest>,
    /// The driver's [`RECORDS`](Migrate::RECORDS).
    pub(crate) known: &'static [(Tag, usize)],
}

impl RecordWriter<'_> {
    /// Writes a record that a destination has to know. EINVAL for one that this driver would refuse: its
    /// tag is the SDK's or not in [`RECORDS`](Migrate::RECORDS), or it is longer than said there.
    pub fn record(&mut self, tag: Tag, payload: &[u8]) -> Result {
        self.write(tag, false, payload)
    }

    /// Writes a record that a destination has to know, whose payload is `head` and behind it `bytes` of
    /// `memory`. Of a device that has stopped they are copied once, to user space, when that reads them.
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
        let mut rest = Rest::new(memory.clone(), bytes);
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

    /// Writes bytes as they are; only with [`Codec::Own`], else EINVAL.
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

/// CRC32C (Castagnoli) by the fastest means of the machine, without inversion at either end.
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: The pointer and the length are those of a slice.
    unsafe { raw::crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// The errno for a refused stream, as mlx5 and virtio have it where they have it.
pub(crate) fn errno(refusal: Refusal) -> Error {
    match refusal {
        Refusal::UnknownRecord | Refusal::UnknownFlags => raw::error(raw::EOPNOTSUPP),
        Refusal::RecordTooLong | Refusal::NoMemory => ENOMEM,
        Refusal::WrongLength | Refusal::WrongChecksum => raw::error(raw::EBADMSG),
        Refusal::Killed => EINTR,
        _ => EINVAL,
    }
}
