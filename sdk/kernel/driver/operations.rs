// SPDX-License-Identifier: GPL-2.0

//! The traits of a driver: [`Driver`], which makes mdevs, and [`Operations`], which a guest uses.

use super::{Context, Migrate};
use crate::memory::DeviceMemory;
use kernel::{prelude::*, sync::Arc};
use mdev_model::config::{self, Identity};

/// A type of mdev that a parent offers; sysfs shows it below `mdev_supported_types`.
///
/// # Examples
///
/// ```
/// # use mdev_sdk::Type;
/// const SMALL: Type = Type {
///     sysfs_name: c"small",
///     name: c"Small card",
///     description: c"1 MiB of memory and one interrupt",
/// };
/// ```
pub struct Type {
    /// The last part of the type's directory name; the first is the name of the parent's driver.
    pub sysfs_name: &'static CStr,
    /// `name` in sysfs: what management tools show.
    pub name: &'static CStr,
    /// `description` in sysfs: one line.
    pub description: &'static CStr,
}

/// What a driver learns about the mdev that is being created.
///
/// # Examples
///
/// ```
/// # use kernel::{prelude::*, sync::{Arc, Mutex}};
/// # use mdev_sdk::{Driver, NewDevice};
/// /// Takes one of the cards that the parent has left.
/// fn take<D: Driver<Parent = Arc<Mutex<u32>>>>(new: &NewDevice<'_, D>) -> Result {
///     let mut left = new.parent.lock();
///     *left = left.checked_sub(1).ok_or(ENOSPC)?;
///     Ok(())
/// }
/// ```
pub struct NewDevice<'a, D: Driver> {
    /// What all mdevs of the parent share.
    pub parent: &'a D::Parent,
    /// Index in [`Driver::TYPES`].
    pub type_index: usize,
}

/// The driver of a kind of mediated PCI device.
///
/// `Self` is what one mdev holds from `create` to `remove`: a share of the parent's resources, say.
/// What exists only while user space has the device open is [`Open`](Self::Open), and what all
/// mdevs of one parent share is [`Parent`](Self::Parent).
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
/// /// One of the cards that the parent has, given back when dropped.
/// struct Card(Arc<Mutex<u32>>);
///
/// impl Drop for Card {
///     fn drop(&mut self) {
///         *self.0.lock() += 1;
///     }
/// }
///
/// #[vtable]
/// impl Driver for Card {
///     const OWNER: &'static ThisModule = mdev_sdk::this_module!();
///     const NAME: &'static CStr = c"card";
///     const TYPES: &'static [Type] = &[Type {
///         sysfs_name: c"1",
///         name: c"Card",
///         description: c"A register of four bytes",
///     }];
///     type Parent = Arc<Mutex<u32>>;
///     type Open = OpenCard;
///
///     fn available(left: &Self::Parent, _type_index: usize) -> u32 {
///         *left.lock()
///     }
///
///     fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
///         let mut left = new.parent.lock();
///         *left = left.checked_sub(1).ok_or(ENOSPC)?;
///         Ok(Card(new.parent.clone()))
///     }
///
///     fn identity(&self) -> Identity {
///         let mut bars = [Bar::None; 6];
///         bars[0] = Bar::Io { size: 4 };
///         Identity {
///             vendor: 0x1234,
///             device: 0x0001,
///             subsystem_vendor: 0x1234,
///             subsystem: 0x0001,
///             class: 0xff_00_00,
///             revision: 0,
///             intx: true,
///             msi: false,
///             msix: None,
///             bars,
///         }
///     }
///
///     fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
///         OpenCard::new()
///     }
/// }
/// ```
#[vtable]
pub trait Driver: Sized + Send + Sync + 'static {
    /// The module that the driver is in: [`this_module!`](crate::this_module)`()`.
    const OWNER: &'static ThisModule;
    /// The name of the driver on the mdev bus.
    const NAME: &'static CStr;
    /// The types of mdev that a parent offers.
    const TYPES: &'static [Type];

    /// What all mdevs of one parent share.
    type Parent: Send + Sync;
    /// The device while it is open.
    type Open: Operations;

    /// Returns how many more mdevs of type `type_index` the parent can make now.
    fn available(parent: &Self::Parent, type_index: usize) -> u32;

    /// Creates an mdev.
    ///
    /// # Errors
    ///
    /// An error goes to the writer of `create` in sysfs. Use [`ENOSPC`] when the parent has no
    /// more.
    fn create(new: &NewDevice<'_, Self>) -> Result<Self>;

    /// Returns what a guest sees of the mdev on its PCI bus.
    fn identity(&self) -> Identity;

    /// Returns how many bytes of configuration space user space is told of, at most 256.
    ///
    /// Override it only for a device that mimics one with another number: QEMU's own part of a
    /// stream depends on it.
    fn config_size(&self) -> usize {
        config::SIZE
    }

    /// Opens the device for its first user, as after power-on.
    ///
    /// `cx` is what the callbacks get as well; keep a reference for work that goes on between them.
    ///
    /// # Errors
    ///
    /// An error fails the open, and goes to user space.
    fn open(&self, cx: Arc<Context>) -> impl PinInit<Self::Open, Error>;
}

/// What a guest can do to an open device.
///
/// `Self` is the open device: [`Driver::open`] makes it at the first open, and the SDK drops it at
/// the last close, so every user finds it as after power-on.
///
/// All callbacks may run at the same time from several threads, but for those of one migration
/// session. A driver brings its own locks, and must not call back into user space with one held.
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
    /// Reads `data.len()` bytes (1, 2, 4 or 8, aligned) at `offset` of BAR `bar`.
    ///
    /// They are inside of the BAR, and `data` is zero before.
    ///
    /// # Errors
    ///
    /// An error goes to user space, not to the guest: QEMU prints a message.
    fn read(&self, cx: &Context, bar: usize, offset: u64, data: &mut [u8]) -> Result;

    /// Writes `data` (1, 2, 4 or 8 bytes, aligned) at `offset` of BAR `bar`; they are inside of it.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read).
    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result;

    /// Returns the memory behind BAR `bar`, if the BAR is memory and nothing else.
    ///
    /// The SDK then answers for it, mapped and trapped, and `read` and `write` are not called for
    /// that BAR. It must be as large as the BAR. Asked once, when the device has been opened.
    fn memory(&self, _bar: usize) -> Option<&Arc<DeviceMemory>> {
        None
    }

    /// Returns what a display of the device shows now, `None` while it is off.
    ///
    /// A device that implements this is a display to VFIO, with its picture in a memory BAR
    /// (`VFIO_GFX_PLANE_TYPE_REGION`).
    fn plane(&self) -> Option<Plane> {
        None
    }

    /// Resets the device to its state after power-on, whatever it is doing.
    ///
    /// The SDK has ended a migration session before, reset configuration space, and lowered the
    /// interrupt line. What the device did until now may have raised the line again, so set it
    /// here.
    ///
    /// # Errors
    ///
    /// EINTR if this thread was killed while it waited for what the device does
    /// ([`WaitQueue::wait_killable`](crate::WaitQueue::wait_killable)). Nothing else: prepare
    /// before what could fail.
    fn reset(&self, cx: &Context) -> Result;
}

/// The picture of a display, at the beginning of a memory BAR.
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
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// Pixel format, as a DRM fourcc code.
    pub format: u32,
}
