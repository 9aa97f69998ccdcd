// SPDX-License-Identifier: GPL-2.0

//! The [`Migrate`] trait: how the state of a device is saved and loaded.
//!
//! A driver sees neither VFIO's protocols nor the state machine nor a file.
//! Documentation/stream-format.md describes what the SDK adds to a driver's records.

use super::{Context, RecordWriter};
use kernel::prelude::*;
use mdev_model::stream::{Format, LoadError, Tag};

/// The phase of a saving session.
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
    /// The device is quiescent: everything that is missing must be saved.
    StopCopy,
}

/// Whether [`Migrate::save`] must be called again.
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
    /// There is more to save now, and the call has written at least one record.
    More,
    /// There is nothing more to save: now (PRE_COPY), or at all (STOP_COPY).
    Done,
}

/// The size in bytes of what a device has yet to save: its records with their headers, without the
/// records of the SDK.
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
    /// To be saved once before the device stops.
    pub initial: u64,
    /// Changed since it was saved.
    pub dirty: u64,
    /// What STOP_COPY would save if the device stopped now.
    pub stop_copy: u64,
}

/// The framing of a device's stream.
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
    /// The SDK's: records, with match data first and a checksum last.
    Records,
    /// The driver's own, for instance the format of another driver. It has no checksum, so
    /// [`Migrate::load_raw`] and [`Migrate::complete`] must check everything.
    Own,
}

/// The migration of a device's state.
///
/// The SDK calls the methods for an open device one at a time, with a lock of its own held.
/// [`Operations::read`](crate::Operations::read) and [`write`](crate::Operations::write) of the
/// device may run meanwhile, and so may all methods of other devices.
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
    /// Name and version of the driver's record format.
    const FORMAT: Format;
    /// The tags that [`load`](Self::load) knows, each with the largest size in bytes of a payload.
    ///
    /// A tag below [`Tag::FIRST_DRIVER`] does not build. The SDK buffers an incoming payload up to
    /// its size, and allocates only as much as has arrived.
    const RECORDS: &'static [(Tag, usize)];

    /// The progress of a saving session, for instance a position.
    type Saving: Send + Unpin;
    /// State that has arrived and is not committed to the device yet.
    type Loading: Send + Unpin;

    /// Stops what the device does by itself, apart from its engines, which the SDK has stopped.
    ///
    /// When this returns, the device does no DMA and changes no state by itself until
    /// [`resume`](Self::resume) or a reset. The SDK refuses its accesses to guest memory from then
    /// on, with EBUSY, except for those of hardware, which only the driver can stop.
    ///
    /// # Errors
    ///
    /// An error fails the change of state, and the device must be left running.
    fn quiesce(&self, _cx: &Context) -> Result {
        Ok(())
    }

    /// Lets the device run again; interrupts that were due have been signalled. The SDK kicks the
    /// engines afterwards.
    fn resume(&self, _cx: &Context) {}

    /// Begins a saving session.
    ///
    /// # Errors
    ///
    /// An error fails the change of state, and the device stays in the state before it.
    fn start_saving(&self) -> Result<Self::Saving>;

    /// Returns what has yet to be saved; `saving` is `None` outside of a session.
    ///
    /// It must be cheap, since user space asks often.
    fn pending(&self, saving: Option<&Self::Saving>) -> Pending;

    /// Saves the next part of the state.
    ///
    /// A call must write less than the 16 MiB of protocol v1's window. It should write a few MiB,
    /// because the SDK buffers them.
    ///
    /// # Errors
    ///
    /// An error goes to the reader of the stream, and no more can be read in this session.
    fn save(
        &self,
        saving: &mut Self::Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress>;

    /// Begins a loading session, or begins anew in a stream in which records have arrived.
    ///
    /// # Errors
    ///
    /// An error fails the change of state. When the stream begins anew, it refuses the stream, and
    /// user space gets ENOMEM.
    fn start_loading(&self) -> Result<Self::Loading>;

    /// Loads a record whose tag is in [`RECORDS`](Self::RECORDS) and whose payload is not longer
    /// than given there.
    ///
    /// The driver must check everything else, and must not change the device yet.
    ///
    /// # Errors
    ///
    /// An error refuses the stream for good; the device stays unchanged.
    fn load(&self, loading: &mut Self::Loading, tag: Tag, payload: &[u8]) -> Result<(), LoadError>;

    /// Loads `bytes` at `offset` of a stream in the driver's own framing, cut at any place.
    ///
    /// A driver with [`Codec::Own`] must implement it.
    ///
    /// # Errors
    ///
    /// An error refuses the stream for good; the device stays unchanged.
    fn load_raw(
        &self,
        _loading: &mut Self::Loading,
        _offset: u64,
        _bytes: &[u8],
    ) -> Result<(), LoadError> {
        Err(LoadError::NotOurs)
    }

    /// Checks that what has arrived is a whole state, so that [`commit`](Self::commit) cannot fail.
    ///
    /// Called at the end record. A stream with [`Codec::Own`] has none; there it is called when
    /// user space leaves RESUMING.
    ///
    /// # Errors
    ///
    /// An error refuses the stream for good. With [`Codec::Own`] it fails the change of state with
    /// EINVAL. The device stays unchanged.
    fn complete(&self, loading: &Self::Loading) -> Result<(), LoadError>;

    /// Replaces the state of the device, which is stopped, with what has arrived.
    fn commit(&self, cx: &Context, loading: Self::Loading);
}
