// SPDX-License-Identifier: GPL-2.0

//! The migration of a device whose state is one record of fixed size.

use super::{Context, Migrate, Pending, Phase, Progress, RecordWriter};
use core::marker::PhantomData;
use kernel::{prelude::*, sync::Mutex};
use mdev_model::{
    record::{self, Field, Older, Record},
    stream::{Format, LoadError, Tag, HEADER_LEN},
};

/// The maximum size of a state in bytes: there is one on the kernel's stack during a load.
pub(super) const MAX_STATE: usize = 5 << 10;
/// The most older versions of a state.
const MOST_OLDER: usize = 15;

/// Returns the tag of the record that version `version` saves: each has its own, because a load is
/// not told the version of the stream.
const fn tag(version: u16) -> Tag {
    Tag(Tag::FIRST_DRIVER.0 + version as u32 - 1)
}

/// The records of all versions that `T` reads.
struct Records<T>(PhantomData<T>);

impl<T: FixedState> Records<T> {
    /// [`Migrate::RECORDS`]; what is behind the versions is not used.
    const ALL: [(Tag, usize); MOST_OLDER + 1] = {
        assert!(
            T::OLDER.len() <= MOST_OLDER,
            "a FixedState has at most 15 older versions"
        );
        assert!(
            record::is_complete(T::OLDER, &T::FORMAT),
            "OLDER must have each version from FORMAT.oldest to the one before FORMAT.version, in \
             this order, and FORMAT.readable_by must be FORMAT.version"
        );
        let mut records = [(tag(T::FORMAT.version), T::State::LEN); MOST_OLDER + 1];
        let mut index = 0;
        while index < T::OLDER.len() {
            let older = &T::OLDER[index];
            records[index] = (tag(older.version()), older.len());
            index += 1;
        }
        records
    };
}

/// The migration of a device whose state is one record of fixed size, instead of [`Migrate`], which
/// the SDK implements from it.
///
/// The record is saved when the device is stopped. Its tag is `Tag::FIRST_DRIVER` for version 1 of
/// [`FORMAT`](Self::FORMAT), and the next one for each later version. For a state of more than some
/// KiB implement [`Migrate`], which can save a part of it while the device runs.
///
/// # Examples
///
/// A card whose state is a register of four bytes:
///
/// ```
/// # include!(env!("MDEV_SDK_CARD"));
/// # use mdev_sdk::{model::record::Record, FixedState};
/// # fn main() {}
/// # module_of_card!();
/// # driver_of_card!();
/// # operations_of_card!();
/// mdev_sdk::model::record! {
///     struct Registers {
///         events: u32,
///     }
/// }
///
/// impl Record for Registers {
///     fn check(&self) -> Result<(), &'static str> {
///         match self.events {
///             0..=3 => Ok(()),
///             _ => Err("unknown events"),
///         }
///     }
/// }
///
/// #[pin_data]
/// struct OpenCard {
///     #[pin]
///     registers: Mutex<Registers>,
/// }
/// # impl OpenCard {
/// #     fn new() -> impl PinInit<Self, Error> {
/// #         try_pin_init!(Self {
/// #             registers <- new_mutex!(Registers { events: 0 }, "card_registers"),
/// #         })
/// #     }
/// # }
///
/// #[vtable]
/// impl FixedState for OpenCard {
///     const FORMAT: Format = Format {
///         name: name("card"),
///         version: 1,
///         oldest: 1,
///         readable_by: 1,
///     };
///     type State = Registers;
///
///     fn state(&self) -> &Mutex<Registers> {
///         &self.registers
///     }
///
///     fn restored(&self, cx: &Context, registers: &Registers) {
///         cx.set_interrupt(registers.events != 0);
///     }
/// }
/// ```
#[vtable]
pub trait FixedState {
    /// Name and version of the driver's record format.
    const FORMAT: Format;
    /// The versions before that of [`FORMAT`](Self::FORMAT) whose streams the driver loads, from
    /// the oldest on; at most 15.
    const OLDER: &'static [Older<Self::State>] = &[];
    /// The state, whose encoding migrates.
    type State: Record + Copy + Send + Unpin + 'static;

    /// Returns the state of the device. While the device is stopped, only the guest's accesses may
    /// change it.
    fn state(&self) -> &Mutex<Self::State>;

    /// Derives from the state, which has been replaced, what does not migrate: the level of the
    /// interrupt, for instance. Called with the lock of the state held.
    ///
    /// Work that is under way in the state is continued when the device runs: the SDK kicks its
    /// [`Engine`](super::Engine).
    fn restored(&self, cx: &Context, state: &Self::State);
}

#[vtable]
impl<T: FixedState> Migrate for T {
    const FORMAT: Format = T::FORMAT;
    const RECORDS: &'static [(Tag, usize)] = Records::<T>::ALL.split_at(T::OLDER.len() + 1).0;

    // 7.2 has no such type.
    #[cfg(linux_7_3)]
    type OwnerModule = <T as FixedState>::OwnerModule;
    type Saving = ();
    /// The record, once it has arrived. In a box, because a stack is small.
    type Loading = Option<KBox<T::State>>;

    fn start_saving(&self) -> Result {
        Ok(())
    }

    fn pending(&self, _saving: Option<&()>) -> Pending {
        Pending {
            stop_copy: (HEADER_LEN + T::State::LEN) as u64,
            ..Pending::default()
        }
    }

    fn save(&self, _saving: &mut (), phase: Phase, out: &mut RecordWriter<'_>) -> Result<Progress> {
        if phase == Phase::StopCopy {
            let mut payload = KVec::from_elem(0, T::State::LEN, GFP_KERNEL)?;
            self.state().lock().put(&mut payload);
            out.record(tag(T::FORMAT.version), &payload)?;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Self::Loading> {
        const {
            assert!(
                size_of::<T::State>() <= MAX_STATE,
                "a FixedState has at most 5 KiB; implement Migrate for a larger one"
            );
        }
        Ok(None)
    }

    fn load(
        &self,
        loading: &mut Self::Loading,
        arrived: Tag,
        payload: &[u8],
    ) -> Result<(), LoadError> {
        let state = KBox::new(T::State::ZERO, GFP_KERNEL_ACCOUNT);
        let state = loading.insert(state.map_err(|_| LoadError::NoMemory)?);
        let mut older = T::OLDER.iter();
        match older.find(|older| tag(older.version()) == arrived) {
            Some(older) => **state = older.load(payload)?,
            None => state.replace(payload)?,
        }
        Ok(())
    }

    fn complete(&self, loading: &Self::Loading) -> Result<(), LoadError> {
        match loading {
            Some(_) => Ok(()),
            None => Err(LoadError::BadState("the state is missing")),
        }
    }

    fn commit(&self, cx: &Context, loading: Self::Loading) {
        if let Some(arrived) = loading {
            let mut state = self.state().lock();
            *state = *arrived;
            self.restored(cx, &state);
        }
    }
}
