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
///
/// # Examples
///
/// ```
/// # use mdev_sdk::Phase;
/// /// Returns the offset from which a call of `save` looks for dirty pages.
/// fn start(phase: Phase, reached: usize) -> usize {
///     match phase {
///         // One round: the guest may write forever.
///         Phase::PreCopy => reached,
///         // Until nothing is dirty.
///         Phase::StopCopy => 0,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The device runs: what is saved now may change again.
    PreCopy,
    /// The device is quiescent: everything that is still missing has to be saved.
    StopCopy,
}

/// Whether a call of [`Migrate::save`] is to be followed by another one.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{model::stream::Tag, Progress, RecordWriter};
/// # const PAGE: Tag = Tag(Tag::FIRST_DRIVER.0);
/// /// Saves one of the pages that are left.
/// fn save<'p>(
///     left: &mut impl Iterator<Item = &'p [u8]>,
///     out: &mut RecordWriter<'_>,
/// ) -> Result<Progress> {
///     let Some(page) = left.next() else {
///         return Ok(Progress::Done);
///     };
///     out.record(PAGE, page)?;
///     Ok(Progress::More)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to save now; at least one record was written.
    More,
    /// There is nothing more to save now (PRE_COPY) or at all (STOP_COPY).
    Done,
}

/// Bytes that a device would still save: its records with their headers, without the SDK's own
/// records.
///
/// # Examples
///
/// A device with memory, and registers of 8 bytes that it saves when it has stopped:
///
/// ```
/// # use mdev_sdk::{model::stream::HEADER_LEN, DeviceMemory, Pending};
/// const RECORD: u64 = (HEADER_LEN + 4096) as u64;
///
/// fn pending(memory: &DeviceMemory, reached: usize, is_first_pass: bool) -> Pending {
///     let records = |bytes: u64| bytes / 4096 * RECORD;
///     let left = records(memory.dirty_bytes(0));
///     let initial = if is_first_pass {
///         records(memory.dirty_bytes(reached))
///     } else {
///         0
///     };
///     Pending {
///         initial,
///         dirty: left.saturating_sub(initial),
///         stop_copy: left + (HEADER_LEN + 8) as u64,
///     }
/// }
/// ```
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
///
/// # Examples
///
/// ```
/// # use mdev_sdk::Codec;
/// /// Returns how a card is saved that can be of a type of another driver.
/// fn codec(is_compatible: bool) -> Codec {
///     match is_compatible {
///         true => Codec::Own,
///         false => Codec::Records,
///     }
/// }
/// ```
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
///
/// # Examples
///
/// A card whose state is a register of four bytes:
///
/// ```
/// # include!(env!("MDEV_SDK_CARD"));
/// # fn main() {}
/// # module_of_card!();
/// # driver_of_card!();
/// # open_card!();
/// # operations_of_card!();
/// const REGISTER: Tag = Tag(Tag::FIRST_DRIVER.0);
///
/// #[vtable]
/// impl Migrate for OpenCard {
///     const FORMAT: Format = Format {
///         name: name("card"),
///         version: 1,
///         oldest: 1,
///         readable_by: 1,
///     };
///     const RECORDS: &'static [(Tag, usize)] = &[(REGISTER, 4)];
///     type Saving = ();
///     type Loading = Option<[u8; 4]>;
///
///     fn kind(&self) -> Name {
///         name("card-1")
///     }
///
///     fn geometry(&self) -> [u64; 2] {
///         [0; 2]
///     }
///
///     // Nothing to do: only the guest's accesses change it.
///     fn quiesce(&self, _cx: &Context) -> Result {
///         Ok(())
///     }
///
///     fn resume(&self, _cx: &Context) {}
///
///     fn start_saving(&self) -> Result {
///         Ok(())
///     }
///
///     fn pending(&self, _saving: Option<&()>) -> Pending {
///         Pending {
///             stop_copy: (HEADER_LEN + 4) as u64,
///             ..Pending::default()
///         }
///     }
///
///     fn save(&self, _: &mut (), phase: Phase, out: &mut RecordWriter<'_>) -> Result<Progress> {
///         if phase == Phase::StopCopy {
///             out.record(REGISTER, &*self.register.lock())?;
///         }
///         Ok(Progress::Done)
///     }
///
///     fn start_loading(&self) -> Result<Self::Loading> {
///         Ok(None)
///     }
///
///     fn load(
///         &self,
///         loading: &mut Self::Loading,
///         _tag: Tag,
///         payload: &[u8],
///     ) -> Result<(), LoadError> {
///         let bytes = payload.try_into();
///         *loading = Some(bytes.map_err(|_| LoadError::BadState("a register of another size"))?);
///         Ok(())
///     }
///
///     fn complete(&self, loading: &Self::Loading) -> Result<(), LoadError> {
///         match loading {
///             Some(_) => Ok(()),
///             None => Err(LoadError::BadState("the register is missing")),
///         }
///     }
///
///     fn commit(&self, cx: &Context, loading: Self::Loading) {
///         if let Some(bytes) = loading {
///             *self.register.lock() = bytes;
///             cx.set_interrupt(bytes != [0; 4]);
///         }
///     }
/// }
/// ```
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

    /// The device stops: when this returns it does no DMA and changes nothing by itself, until it
    /// runs again or is reset. An error leaves it running.
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
