// SPDX-License-Identifier: GPL-2.0

//! The traits of a driver: [`Driver`], which creates mdevs, and [`Operations`], which a guest uses.

use super::{Attribute, Codec, Context, Migrate, Parts};
use kernel::{prelude::*, sync::Arc};
use mdev_model::{
    config::Identity,
    stream::{Format, MatchData, Name},
};

/// An mdev type that a parent offers, below `mdev_supported_types` in sysfs: all that its mdevs
/// have in common.
///
/// # Examples
///
/// ```
/// # use mdev_sdk::{
/// #     model::{
/// #         config::{Bar, Identity},
/// #         stream::name,
/// #     },
/// #     Codec, Type,
/// # };
/// const SMALL: Type = Type {
///     sysfs_name: c"small",
///     name: c"Small card",
///     description: c"1 MiB of memory and one interrupt",
///     identity: Identity {
///         bars: Bar::memory32(1 << 20).alone(),
///         ..Identity::new(0x1234, 0x0001)
///     },
///     kind: name("card-small"),
///     geometry: [1 << 20, 0],
///     codec: Codec::Records,
/// };
/// ```
pub struct Type {
    /// The last part of the type's directory name; the first part is the name of the parent's
    /// driver.
    pub sysfs_name: &'static CStr,
    /// `name` in sysfs, which management tools show.
    pub name: &'static CStr,
    /// `description` in sysfs: one line.
    pub description: &'static CStr,
    /// The PCI function that a guest sees.
    pub identity: Identity,
    /// The device type, which source and destination must have in common.
    pub kind: Name,
    /// Two sizes that source and destination must have in common; 0 for one without a use.
    pub geometry: [u64; 2],
    /// The framing of the stream.
    pub codec: Codec,
}

impl Type {
    /// Returns what a device of this type sends as match data, if its driver saves in `format`.
    pub(crate) fn match_data(&self, format: &Format) -> MatchData {
        MatchData::new(format, self.kind, self.geometry)
    }
}

/// The mdev that is being created.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{Budget, Driver, NewDevice, Share};
/// const PORTS: [u32; 2] = [1, 2];
///
/// /// Takes the ports of a card of this type from those that the parent has left.
/// fn take<D: Driver<Parent = Budget>>(new: &NewDevice<'_, D>) -> Result<Share> {
///     new.parent.take(PORTS[new.type_index])
/// }
/// ```
pub struct NewDevice<'a, D: Driver> {
    /// The data that all mdevs of the parent share.
    pub parent: &'a D::Parent,
    /// Index of the mdev's type in [`Driver::TYPES`].
    pub type_index: usize,
}

/// The driver of a kind of mediated PCI device.
///
/// `Self` is what an mdev holds from `create` to `remove`, for instance a share of the parent's
/// resources. [`Open`](Self::Open) exists only while user space has the device open, and
/// [`Parent`](Self::Parent) is shared by all mdevs of a parent.
///
/// # Examples
///
/// ```
/// # include!(env!("MDEV_SDK_CARD"));
/// # fn main() {}
/// # module_of_card!();
/// # open_card!();
/// # operations_of_card!();
/// # migrate_of_card!();
/// /// One of the cards that the parent has.
/// struct Card(#[expect(dead_code)] Share);
///
/// #[vtable]
/// impl Driver for Card {
///     const OWNER: &'static ThisModule = mdev_sdk::this_module!();
///     const NAME: &'static CStr = c"card";
///     const TYPES: &'static [Type] = &[Type {
///         sysfs_name: c"1",
///         name: c"Card",
///         description: c"A register of four bytes",
///         identity: Identity {
///             bars: Bar::memory32(16).alone(),
///             ..Identity::new(0x1234, 0x0001)
///         },
///         kind: name("card-1"),
///         geometry: [0; 2],
///         codec: Codec::Records,
///     }];
///     type Parent = Budget;
///     type Open = OpenCard;
///
///     fn available(cards: &Budget, _type_index: usize) -> u32 {
///         cards.available(1)
///     }
///
///     fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
///         Ok(Card(new.parent.take(1)?))
///     }
///
///     fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
///         OpenCard::new()
///     }
/// }
/// ```
#[vtable]
pub trait Driver: Sized + Send + Sync + 'static {
    /// The module of the driver: [`this_module!`](crate::this_module)`()`.
    const OWNER: &'static ThisModule;
    /// The name of the driver on the mdev bus.
    const NAME: &'static CStr;
    /// The mdev types that a parent offers.
    const TYPES: &'static [Type];
    /// Files of the driver's own that each mdev has in sysfs; at most 32.
    const ATTRIBUTES: &'static [Attribute<Self>] = &[];

    /// The data that all mdevs of a parent share.
    type Parent: Send + Sync;
    /// The device while it is open.
    type Open: Operations;

    /// Returns how many more mdevs of type `type_index` the parent can create now.
    fn available(parent: &Self::Parent, type_index: usize) -> u32;

    /// Creates an mdev.
    ///
    /// # Errors
    ///
    /// An error goes to the writer of `create` in sysfs. Use [`ENOSPC`] when the parent has no
    /// resources left.
    fn create(new: &NewDevice<'_, Self>) -> Result<Self>;

    /// Opens the device for its first user, in its state after power-on.
    ///
    /// `cx` is what the callbacks receive too; keep a reference for work outside of callbacks.
    ///
    /// # Errors
    ///
    /// An error fails the open and goes to user space.
    fn open(&self, cx: Arc<Context>) -> impl PinInit<Self::Open, Error>;
}

/// The operations of an open device.
///
/// `Self` is the open device: [`Driver::open`] creates it at the first open, and the SDK drops it
/// at the last close, so every user finds the device in its state after power-on.
///
/// `read`, `write`, `config_written` and `plane` may run in several threads at a time, and at the
/// same time as `reset` and the methods of [`Migrate`], which run one at a time. So a driver needs
/// locks of its own. It must not access guest memory with one held that `read` or `write` takes.
///
/// # Examples
///
/// A card with a register of four bytes in BAR 0, which asserts the interrupt while it is not zero:
///
/// ```
/// # include!(env!("MDEV_SDK_CARD"));
/// # fn main() {}
/// # module_of_card!();
/// # driver_of_card!();
/// # migrate_of_card!();
/// #[pin_data]
/// struct OpenCard {
///     #[pin]
///     register: Mutex<[u8; 4]>,
/// }
/// # impl OpenCard {
/// #     fn new() -> impl PinInit<Self, Error> {
/// #         try_pin_init!(Self { register <- new_mutex!([0; 4], "card_register") })
/// #     }
/// # }
///
/// #[vtable]
/// impl Operations for OpenCard {
///     fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
///         let register = self.register.lock();
///         data.copy_from_slice(&register[offset as usize..][..data.len()]);
///         Ok(())
///     }
///
///     fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
///         let mut register = self.register.lock();
///         register[offset as usize..][..data.len()].copy_from_slice(data);
///         // With the lock held: the level is that of the newest value.
///         cx.set_interrupt(*register != [0; 4]);
///         Ok(())
///     }
///
///     fn reset(&self, cx: &Context) -> Result {
///         *self.register.lock() = [0; 4];
///         cx.set_interrupt(false);
///         Ok(())
///     }
/// }
/// ```
#[vtable]
pub trait Operations: Migrate + Sized + Send + Sync + 'static {
    /// Reads `data.len()` bytes (1, 2, 4 or 8, aligned) at `offset` of BAR `bar`, which is no
    /// [part](Self::parts) with memory.
    ///
    /// They are in bounds of the BAR, and `data` is zeroed.
    ///
    /// # Errors
    ///
    /// An error goes to user space and not to the guest: QEMU prints a message.
    fn read(&self, cx: &Context, bar: usize, offset: u64, data: &mut [u8]) -> Result;

    /// Writes `data` (1, 2, 4 or 8 bytes, aligned) at `offset` of BAR `bar`, in bounds of it.
    ///
    /// # Errors
    ///
    /// Same as for [`read`](Self::read).
    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result;

    /// Adds the BARs that are memory, and parts of BARs that are, to `parts`. All other bytes are
    /// registers.
    ///
    /// Called once, after the device was opened.
    ///
    /// # Errors
    ///
    /// An error fails the open and goes to user space.
    fn parts(&self, _parts: &mut Parts<'_>) -> Result {
        Ok(())
    }

    /// Returns what the device's display shows now, or `None` while it is off.
    ///
    /// To VFIO, a device that implements this is a display whose picture is in a memory BAR
    /// (`VFIO_GFX_PLANE_TYPE_REGION`).
    fn plane(&self) -> Option<Plane> {
        None
    }

    /// Learns that `len` bytes at `offset` of configuration space were written, which the SDK has
    /// applied.
    ///
    /// [`Context::read_config`] returns what they are now; of several threads that write at a time,
    /// any may call last, so the driver must read it with the lock held that protects what it makes
    /// of it. The call comes in any state of the device, as that of `write` does. There is none for
    /// a function-level reset, which calls [`reset`](Self::reset), nor for the configuration space
    /// of a stream, which is there in [`Migrate::commit`].
    fn config_written(&self, _cx: &Context, _offset: u64, _len: usize) {}

    /// Resets the device to its state after power-on, from any state: for `VFIO_DEVICE_RESET`, or a
    /// guest's function-level reset.
    ///
    /// Before the call, the SDK has ended the migration session, reset configuration space, lowered
    /// the interrupt line, and stopped the engines, which it kicks afterwards. The device may have
    /// raised the line again since, so the driver must set its level here.
    ///
    /// # Errors
    ///
    /// EINTR if this thread was killed while it waited for hardware to finish, and no other error:
    /// allocate beforehand whatever could fail.
    fn reset(&self, cx: &Context) -> Result;
}

/// The picture of a display, at the start of a memory BAR.
///
/// # Examples
///
/// ```
/// # use mdev_sdk::Plane;
/// const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
///
/// /// Returns a picture of 640 by 480 pixels at the beginning of BAR 2.
/// fn plane() -> Plane {
///     Plane {
///         bar: 2,
///         width: 640,
///         height: 480,
///         stride: 640 * 4,
///         format: XRGB8888,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    /// Index of the BAR.
    pub bar: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in rows.
    pub height: u32,
    /// Bytes from the start of one row to the start of the next.
    pub stride: u32,
    /// Pixel format, a fourcc code of
    /// [`include/uapi/drm/drm_fourcc.h`](srctree/include/uapi/drm/drm_fourcc.h).
    pub format: u32,
}
