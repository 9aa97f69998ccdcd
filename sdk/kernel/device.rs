// SPDX-License-Identifier: GPL-2.0

//! The [`Device`] trait, and the VFIO device that carries it from `create` to `remove`.
//!
//! C header: `include/linux/vfio.h`

use crate::{
    compat::raw_try_init,
    device_memory::DeviceMemory,
    eventfd::EventFd,
    guest_memory::GuestMemory,
    info, lock,
    mdev::{NewDevice, Type},
    migrate::{Link, Migrate},
    open::OpenDevice,
    param,
    pins::Pins,
    raw, rw,
};
use core::{
    array::from_fn,
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{self, NonNull},
};
use kernel::{
    device,
    error::{from_err_ptr, to_result},
    prelude::*,
    static_lock_class,
    str::as_char_ptr_in_const_context,
    sync::{aref::ARef, Arc, Mutex},
    types::Opaque,
};
use mdev_model::config::{self, Identity};

/// A kind of mediated PCI device.
///
/// `Self` is the open device: it is made at the first open and dropped at the last close, so that
/// every user finds it as after power-on. What has to last from `create` to `remove` (a share of the
/// parent's resources, say) is in [`Instance`](Self::Instance), and what all mdevs of one parent share
/// is in [`Parent`](Self::Parent).
///
/// All callbacks may run at the same time from several threads, but for those of one migration
/// session; a driver brings its own locks, and never calls back into user space with one held.
#[vtable]
pub trait Device: Migrate + Sized + Send + Sync + 'static {
    /// The module that the driver is in: [`this_module!`](crate::this_module)`()`.
    const OWNER: &'static ThisModule;
    /// The name of the driver on the mdev bus.
    const NAME: &'static CStr;
    /// The types of mdev that a parent offers.
    const TYPES: &'static [Type];

    /// What all mdevs of one parent share.
    type Parent: Send + Sync;
    /// What one mdev holds from `create` to `remove`.
    type Instance: Send + Sync;

    /// How many more mdevs of type `type_index` the parent can make now.
    fn available(parent: &Self::Parent, type_index: usize) -> u32;

    /// An mdev is created; an error is what the writer of `create` sees (ENOSPC: none available).
    fn create(new: &NewDevice<'_, Self>) -> Result<Self::Instance>;

    /// What a guest sees of `instance` on its PCI bus.
    fn identity(instance: &Self::Instance) -> Identity;

    /// How many bytes of configuration space user space is told of, at most 256. Another number than
    /// that is for a device that mimics one with another: QEMU's own part of a stream depends on it.
    fn config_size(_instance: &Self::Instance) -> usize {
        config::SIZE
    }

    /// The device is opened for the first time. `dev` is what the callbacks get as well; keep a
    /// reference for work that goes on between them.
    fn open(instance: &Self::Instance, dev: Arc<OpenDevice>) -> impl PinInit<Self, Error>;

    /// User space reads `data.len()` bytes (1, 2, 4 or 8, aligned) at `offset` of BAR `bar`; they are
    /// inside of the BAR, and `data` is zero before.
    fn read(&self, dev: &OpenDevice, bar: usize, offset: u64, data: &mut [u8]) -> Result;

    /// User space writes `data` (1, 2, 4 or 8 bytes, aligned) at `offset` of BAR `bar`; they are inside
    /// of the BAR.
    fn write(&self, dev: &OpenDevice, bar: usize, offset: u64, data: &[u8]) -> Result;

    /// The memory behind BAR `bar`, if the BAR is memory and nothing else. The SDK then answers for it,
    /// mapped and trapped, and `read` and `write` are not called for that BAR. It is as large as the
    /// BAR. Asked once, when the device has been opened.
    fn memory(&self, _bar: usize) -> Option<&Arc<DeviceMemory>> {
        None
    }

    /// What a display of the device shows now; none while it is off. A device that implements this is a
    /// display to VFIO, with its picture in a memory BAR (`VFIO_GFX_PLANE_TYPE_REGION`).
    fn plane(&self) -> Option<Plane> {
        None
    }

    /// Back to the state after power-on, whatever the device is doing. The SDK has ended a migration
    /// session before, reset configuration space, and lowered the interrupt line; what the device did
    /// until now may have raised it again, so set it here.
    fn reset(&self, dev: &OpenDevice);
}

/// The picture of a display, at the beginning of a memory BAR.
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

/// One open of a device: the SDK's part and the driver's.
#[pin_data]
pub(crate) struct Open<T: Device> {
    pub(crate) dev: Arc<OpenDevice>,
    #[pin]
    pub(crate) driver: T,
    /// The memory behind each BAR, as the driver had it when it was opened: what is attached then is
    /// what is detached at the end.
    memories: [Option<Arc<DeviceMemory>>; config::BARS],
}

impl<T: Device> Open<T> {
    /// The memory behind BAR `bar`.
    #[inline]
    pub(crate) fn memory(&self, bar: usize) -> Option<&Arc<DeviceMemory>> {
        // A driver without memory pays nothing for that of others.
        if !T::HAS_MEMORY {
            return None;
        }
        self.memories.get(bar)?.as_ref()
    }

    /// The BARs with memory behind them.
    pub(crate) fn memories(&self) -> impl Iterator<Item = (usize, &Arc<DeviceMemory>)> {
        let numbered = self.memories.iter().enumerate();
        numbered.filter_map(|(bar, memory)| Some((bar, memory.as_ref()?)))
    }

    /// Attaches the memories to their BARs, all or none.
    ///
    /// # Safety
    ///
    /// `vdev` is the VFIO device, which is being opened; the memories are detached before it is closed.
    unsafe fn attach_memories(&self, vdev: *mut raw::vfio_device) -> Result {
        for (bar, memory) in self.memories() {
            // SAFETY: By the function's contract.
            if let Err(error) = unsafe { memory.attach(vdev, bar) } {
                for (_, memory) in self.memories().take_while(|(before, _)| *before < bar) {
                    memory.detach();
                }
                dev_err!(self.dev.device(), "mdev: a memory is behind two BARs\n");
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What an open [`Slot`] holds.
pub(crate) struct Opened<T: Device> {
    pub(crate) open: Arc<Open<T>>,
    pub(crate) link: Arc<Link<T>>,
}

/// The part of a [`Slot`] that is Rust's.
#[pin_data]
pub(crate) struct Body<T: Device> {
    instance: T::Instance,
    /// Where user space wants to hear that the device is to go (`VFIO_PCI_REQ_IRQ_INDEX`). Here, and
    /// not in `opened`, because VFIO may ask while the device is being opened or closed.
    #[pin]
    pub(crate) request: Mutex<Option<EventFd>>,
    /// The guest memory that is pinned through the device; here for the same reason.
    #[pin]
    pins: Mutex<Option<Arc<Pins>>>,
    opened: UnsafeCell<Option<Opened<T>>>,
}

impl<T: Device> Body<T> {
    /// Guest memory is not reached through the device any more, and none of it is pinned, when this
    /// returns.
    fn shut(&self) {
        let pins = self.pins.lock().clone();
        if let Some(pins) = pins {
            // Meanwhile `dma_unmap` finds the ranges: it must not return before they are unpinned.
            pins.close();
        }
        *self.pins.lock() = None;
    }
}

/// An mdev as VFIO sees it: `struct vfio_device` first, then the rest.
///
/// # Invariants
///
/// - VFIO allocated the memory, with room for all of it, and `vdev` is a registered `vfio_device`
///   from the end of [`register`](Self::register) to [`unregister`](Self::unregister).
/// - `body` is initialised from the end of VFIO's `init` callback to its `release` callback.
/// - `body.opened` is written by the `open_device` and `close_device` callbacks alone. VFIO
///   serialises the two, and runs `read`, `write`, `ioctl` and the migration callbacks only between
///   them.
#[repr(C)]
pub(crate) struct Slot<T: Device> {
    vdev: Opaque<raw::vfio_device>,
    body: Body<T>,
}

impl<T: Device> Slot<T> {
    /// Allocates and registers the VFIO device of an mdev.
    ///
    /// # Safety
    ///
    /// `dev` is the `struct device` of an `mdev_device` that is being probed by the driver of `T`.
    pub(crate) unsafe fn register(dev: *mut raw::device) -> Result {
        // SAFETY: The size is that of the type that `init` and `release` know; `dev` is a device by
        // the function's contract.
        let vdev = from_err_ptr(unsafe {
            raw::_vfio_alloc_device(core::mem::size_of::<Self>(), dev, &Callbacks::<T>::OPS)
        })?;
        // SAFETY: `vdev` is allocated and not registered, which is when these may be set.
        unsafe {
            if param::offers_v2() {
                (*vdev).migration_flags = raw::VFIO_MIGRATION_STOP_COPY
                    | raw::VFIO_MIGRATION_P2P
                    | raw::VFIO_MIGRATION_PRE_COPY;
                (*vdev).mig_ops = crate::migrate::ops::<T>();
                (*vdev).log_ops = crate::dirty_log::ops::<T>();
            }
        }
        // SAFETY: As above.
        let result = to_result(unsafe { raw::vfio_register_emulated_iommu_dev(vdev) });
        match result {
            // SAFETY: `dev` is being probed, so its driver data is ours.
            Ok(()) => unsafe { raw::dev_set_drvdata(dev, vdev.cast()) },
            // SAFETY: The only reference, which is given up.
            Err(_) => unsafe { raw::vfio_put_device(vdev) },
        }
        result
    }

    /// Unregisters the VFIO device of an mdev; waits until user space has closed it.
    ///
    /// # Safety
    ///
    /// [`register`](Self::register) succeeded for `dev`, and it is being unbound.
    pub(crate) unsafe fn unregister(dev: *mut raw::device) {
        // SAFETY: `register` left the registered device there, with one reference.
        unsafe {
            let vdev = raw::dev_get_drvdata(dev).cast();
            raw::vfio_unregister_group_dev(vdev);
            raw::vfio_put_device(vdev);
        }
    }

    /// # Safety
    ///
    /// `vdev` is a `vfio_device` of `T`, between the end of VFIO's `init` and its `release`.
    pub(crate) unsafe fn body<'a>(vdev: *mut raw::vfio_device) -> &'a Body<T> {
        // SAFETY: By the function's contract `vdev` is the first field of an initialised `Self`.
        unsafe { &(*vdev.cast::<Self>()).body }
    }

    /// # Safety
    ///
    /// `vdev` is a `vfio_device` of `T`, and the caller a callback that VFIO runs between
    /// `open_device` and `close_device`.
    pub(crate) unsafe fn opened<'a>(vdev: *mut raw::vfio_device) -> Result<&'a Opened<T>> {
        // SAFETY: By the function's contract, and by the type invariant nobody writes `opened` now.
        unsafe { (*Self::body(vdev).opened.get()).as_ref() }.ok_or(ENODEV)
    }
}

impl<T: Device> Opened<T> {
    /// `VFIO_DEVICE_RESET`: from any state, also an error, back to RUNNING as after power-on.
    pub(crate) fn reset(&self) {
        self.link.reset(|| {
            // The driver comes last: what it drives its interrupt line to is that of the new state.
            self.open.dev.reset();
            self.open.driver.reset(&self.open.dev);
        });
    }
}

struct Callbacks<T: Device>(PhantomData<T>);

impl<T: Device> Callbacks<T> {
    const OPS: raw::vfio_device_ops = raw::vfio_device_ops {
        name: as_char_ptr_in_const_context(T::NAME).cast_mut(),
        init: Some(Self::init),
        release: Some(Self::release),
        open_device: Some(Self::open_device),
        close_device: Some(Self::close_device),
        read: Some(rw::read::<T>),
        write: Some(rw::write::<T>),
        mmap: Some(rw::mmap::<T>),
        ioctl: Some(info::ioctl::<T>),
        get_region_info_caps: Some(info::get_region_info_caps::<T>),
        request: Some(Self::request),
        dma_unmap: Some(Self::dma_unmap),
        #[cfg(CONFIG_IOMMUFD)]
        bind_iommufd: Some(raw::vfio_iommufd_emulated_bind),
        #[cfg(CONFIG_IOMMUFD)]
        unbind_iommufd: Some(raw::vfio_iommufd_emulated_unbind),
        #[cfg(CONFIG_IOMMUFD)]
        attach_ioas: Some(raw::vfio_iommufd_emulated_attach_ioas),
        #[cfg(CONFIG_IOMMUFD)]
        detach_ioas: Some(raw::vfio_iommufd_emulated_detach_ioas),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// VFIO is allocating `vdev` on behalf of [`Slot::register`].
    unsafe extern "C" fn init(vdev: *mut raw::vfio_device) -> c_int {
        let init = || -> Result {
            // SAFETY: VFIO sets `dev` before, to the device that `register` was called for.
            let new = unsafe { NewDevice::<T>::of((*vdev).dev) };
            let body = try_pin_init!(Body::<T> {
                instance: T::create(&new)?,
                request <- Mutex::new(None, lock::REQUEST, static_lock_class!()),
                pins <- Mutex::new(None, lock::PINS_OF_SLOT, static_lock_class!()),
                opened: UnsafeCell::new(None),
            } ? Error);
            // SAFETY: `register` asked for the memory of a whole `Slot`, which VFIO never moves.
            unsafe { raw_try_init(&raw mut (*vdev.cast::<Slot<T>>()).body, body) }
        };
        init().map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// The last reference to `vdev` is gone, and [`init`](Self::init) had succeeded for it.
    unsafe extern "C" fn release(vdev: *mut raw::vfio_device) {
        // SAFETY: By the function's contract nobody uses the body any more. VFIO frees the memory.
        unsafe { ptr::drop_in_place(&raw mut (*vdev.cast::<Slot<T>>()).body) };
    }

    /// # Safety
    ///
    /// `vdev` is a registered `vfio_device` of `T` that nobody has open.
    unsafe extern "C" fn open_device(vdev: *mut raw::vfio_device) -> c_int {
        // SAFETY: By the function's contract.
        let body = unsafe { Slot::<T>::body(vdev) };
        let open = |pins: Arc<Pins>| -> Result {
            // SAFETY: `dev` is set as long as `vdev` lives.
            let dev: &device::Device = unsafe { device::Device::from_raw((*vdev).dev) };
            let dev = ARef::from(dev);
            let identity = T::identity(&body.instance);
            let config_size = T::config_size(&body.instance).min(config::SIZE);
            if !identity.is_valid() {
                dev_err!(
                    dev,
                    "mdev: the driver's identity breaks a rule: class, BARs or MSI-X table\n"
                );
                return Err(EINVAL);
            }
            let dev = OpenDevice::new(dev, identity, config_size, GuestMemory(pins))?;
            let driver = T::open(&body.instance, dev.clone());
            let open = Arc::pin_init(
                try_pin_init!(Open::<T> {
                    dev,
                    driver <- driver,
                    memories: from_fn(|bar| driver.memory(bar).cloned()),
                }),
                GFP_KERNEL_ACCOUNT,
            )?;
            let attach = || {
                for (bar, memory) in open.memories() {
                    if memory.size() as u64 != identity.bars[bar].size() {
                        dev_err!(open.dev.device(), "mdev: memory and BAR differ in size\n");
                        return Err(EINVAL);
                    }
                }
                let link = Link::new(open.clone())?;
                // SAFETY: `vdev` is being opened, and `close_device` detaches.
                unsafe { open.attach_memories(vdev)? };
                // SAFETY: As above.
                unsafe { open.dev.window.attach(vdev) };
                Ok(link)
            };
            // The driver may have pinned memory: its hardware is stopped before it is dropped.
            let link = attach().inspect_err(|_| body.shut())?;
            // SAFETY: By the type invariant of `Slot` nobody else accesses `opened` now.
            unsafe { *body.opened.get() = Some(Opened { open, link }) };
            Ok(())
        };
        let pins = || -> Result<Arc<Pins>> {
            // SAFETY: `vdev` is being opened; `shut` is called before it is closed, or not opened at all.
            unsafe { Pins::new(NonNull::new(vdev).ok_or(EINVAL)?) }
        };
        let opened = pins().and_then(|pins| {
            // The container knows the device already, and the driver may pin from its first moment on.
            *body.pins.lock() = Some(pins.clone());
            open(pins).inspect_err(|_| body.shut())
        });
        opened.map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// `vdev` is a registered `vfio_device` of `T` whose last user closes it.
    unsafe extern "C" fn close_device(vdev: *mut raw::vfio_device) {
        // SAFETY: By the function's contract.
        let body = unsafe { Slot::<T>::body(vdev) };
        *body.request.lock() = None;
        // SAFETY: By the type invariant of `Slot` nobody else accesses `opened` now.
        let opened = unsafe { (*body.opened.get()).take() };
        if let Some(opened) = &opened {
            // The driver may go on until it is dropped, with nobody to hear of it.
            opened.open.dev.irqs.close();
        }
        // So that hardware is stopped whether or not the driver does it when it is dropped.
        body.shut();
        if let Some(opened) = opened {
            let memories = opened.open.memories();
            memories.for_each(|(_, memory)| memory.detach());
            opened.link.close();
            opened.open.dev.window.detach();
        }
    }

    /// # Safety
    ///
    /// `vdev` is a registered `vfio_device` of `T`.
    unsafe extern "C" fn dma_unmap(vdev: *mut raw::vfio_device, iova: u64, length: u64) {
        // SAFETY: By the function's contract.
        let pins = unsafe { Slot::<T>::body(vdev) }.pins.lock().clone();
        if let (Some(pins), Some(more)) = (pins, length.checked_sub(1)) {
            Pins::revoke(&pins, &(iova..=iova.saturating_add(more)));
        }
    }

    /// # Safety
    ///
    /// `vdev` is a registered `vfio_device` of `T`.
    unsafe extern "C" fn request(vdev: *mut raw::vfio_device, count: c_uint) {
        // SAFETY: By the function's contract.
        let body = unsafe { Slot::<T>::body(vdev) };
        if let Some(request) = &*body.request.lock() {
            request.signal();
        } else if count == 0 {
            // SAFETY: `dev` is set as long as `vdev` lives.
            let dev: &device::Device = unsafe { device::Device::from_raw((*vdev).dev) };
            dev_warn!(dev, "mdev: waiting for user space to close the device\n");
        }
    }
}
