// SPDX-License-Identifier: GPL-2.0

//! The [`Migrate`] trait: how a device's state leaves and arrives.
//!
//! A driver neither learns which of VFIO's protocols is in use nor sees a state machine, a file or
//! a length it has not asked for. Documentation/stream-format.md says what the SDK puts around its
//! records.

use super::{Context, RecordWriter};
use kernel::prelude::*;
use mdev_model::stream::{Format, LoadError, Name, Tag};

/// The part of a saving session that the device is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The device runs: what is saved now may change again.
    PreCopy,
    /// The device is quiescent: everything that is still missing has to be saved.
    StopCopy,
}

/// Whether a call of [`Migrate::save`] or [`Task::step`](super::Task::step) is to be followed by
/// another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do now. A call of `save` has written at least one record.
    More,
    /// There is nothing more to do: to save now (PRE_COPY) or at all (STOP_COPY), or until the next
    /// [`kick`](super::Worker::kick).
    Done,
}

/// Bytes that a device would still save: its records with their headers, without the SDK's own
/// records.
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
/// Of one open device, one method is called at a time, with a lock of the SDK's held. Its `read`
/// and `write` (see [`Operations`](crate::Operations)) go on meanwhile, and so does everything of
/// other devices.
#[vtable]
pub trait Migrate {
    /// Name and version of the driver's records.
    const FORMAT: Format;
    /// The tags that [`load`](Self::load) knows, each with the most bytes that a payload can have.
    /// They are [`Tag::FIRST_DRIVER`] or above; the driver does not build with another one. The SDK
    /// allocates no more than that, and not before that much has arrived.
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

    /// Stops the device: when this returns it does no DMA and changes nothing by itself, until it
    /// runs again or is reset.
    ///
    /// From then on the SDK refuses its accesses to guest memory with EBUSY, but for those of
    /// hardware, which only the driver can stop.
    ///
    /// # Errors
    ///
    /// An error leaves it running, and goes to user space, as the result of the change of state.
    fn quiesce(&self, cx: &Context) -> Result;

    /// The device runs again. Interrupts that were due have been signalled.
    fn resume(&self, cx: &Context);

    /// A saving session begins.
    fn start_saving(&self) -> Result<Self::Saving>;

    /// What would still be saved; `saving` is none outside of a session. Cheap: user space asks
    /// often.
    fn pending(&self, saving: Option<&Self::Saving>) -> Pending;

    /// Saves some more: less than the 16 MiB of protocol v1's window a call, and better some MiB,
    /// for the SDK buffers it. An error ends the session for user space.
    fn save(
        &self,
        saving: &mut Self::Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress>;

    /// A loading session begins; or another one does in the stream of the last, of which records
    /// have arrived, and then an error is ENOMEM to user space.
    fn start_loading(&self) -> Result<Self::Loading>;

    /// A record arrived. The tag is one of [`RECORDS`](Self::RECORDS) and the payload not longer
    /// than said there; everything else about it is to be checked here.
    fn load(&self, loading: &mut Self::Loading, tag: Tag, payload: &[u8]) -> Result<(), LoadError>;

    /// Bytes of a stream of the driver's own framing arrived; `offset` is their place in the
    /// stream. A driver with [`Codec::Own`] has to implement it.
    fn load_raw(
        &self,
        _loading: &mut Self::Loading,
        _offset: u64,
        _bytes: &[u8],
    ) -> Result<(), LoadError> {
        Err(LoadError::NotOurs)
    }

    /// Whether what arrived is a whole state, so that [`commit`](Self::commit) cannot fail. Asked
    /// at the end record; of a stream with [`Codec::Own`], which has none, when user space leaves
    /// RESUMING.
    fn complete(&self, loading: &Self::Loading) -> Result<(), LoadError>;

    /// What arrived becomes the state of the device, which is stopped.
    fn commit(&self, cx: &Context, loading: Self::Loading);
}
