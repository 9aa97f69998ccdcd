// SPDX-License-Identifier: GPL-2.0

//! The driver of PCI functions that are parents of mdevs.
//!
//! It is registered with the PCI core directly. The kernel crate's adapter has no place for what
//! the functions of a driver share, here the registration of the mdev driver.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::function::PciFunction;
use crate::{
    base::raw,
    driver::Driver,
    mdev::{DriverRegistration, ParentRegistration},
};
use core::marker::PhantomPinned;
use kernel::{
    container_of,
    device::{Bound, Device},
    error::to_result,
    pci,
    prelude::*,
    sync::Arc,
    types::{ForeignOwnable, Opaque},
};

/// A vendor and a device of PCI functions.
///
/// # Examples
///
/// [`PciDriver`] has one.
#[derive(Clone, Copy)]
pub struct PciId {
    /// The vendor id.
    pub vendor: u16,
    /// The device id.
    pub device: u16,
}

/// An mdev driver whose parents are PCI functions.
///
/// [`module_mdev_pci_driver!`](crate::module_mdev_pci_driver) makes a module of it.
///
/// # Examples
///
/// ```
/// # include!(env!("MDEV_SDK_CARD"));
/// # fn main() {}
/// # open_card!();
/// # operations_of_card!();
/// # migrate_of_card!();
/// # driver_of_card!();
/// use mdev_sdk::{PciDriver, PciFunction, PciId};
///
/// impl PciDriver for Card {
///     const IDS: &'static [PciId] = &[PciId {
///         vendor: 0x1234,
///         device: 0x0001,
///     }];
///     const DMA_BITS: u32 = 32;
///
///     fn probe(function: &PciFunction<'_>) -> Result<Budget> {
///         let bar = function.bar(0)?;
///         dev_info!(function.device(), "card: version {}\n", bar.read32(0)?);
///         function.on_interrupt(move || bar.read32(4).is_ok_and(|events| events != 0))?;
///         Budget::new(16)
///     }
/// }
/// # mdev_sdk::module_mdev_pci_driver! {
/// #     driver: Card,
/// #     parent_driver: c"my",
/// #     name: "my_mdev",
/// #     authors: ["Me"],
/// #     description: "My card, shared",
/// #     license: "GPL",
/// # }
/// ```
pub trait PciDriver: Driver {
    /// The functions that it drives.
    const IDS: &'static [PciId];
    /// The number of bits of an address with which the hardware reaches memory: 1 to 64.
    const DMA_BITS: u32;

    /// Prepares a function, and returns what its mdevs share.
    ///
    /// When the function is unbound, its mdevs are removed first, which waits until user space has
    /// closed them; then `Parent` is dropped, and then what `function` has given.
    ///
    /// # Errors
    ///
    /// With an error the function stays without a driver.
    fn probe(function: &PciFunction<'_>) -> Result<Self::Parent>;
}

/// The registration of the driver of the functions, each of which is a parent of mdevs.
///
/// Its drop unbinds the functions, and waits until user space has closed their mdevs. Their types
/// are called `DRIVER-TYPE`, and the parents are in `/sys/class/mdev_bus`, under the addresses of
/// the functions.
///
/// # Invariants
///
/// `pci` is registered, with `ids`, which never changes.
///
/// # Examples
///
/// [`module_mdev_pci_driver!`](crate::module_mdev_pci_driver) has one.
#[pin_data(PinnedDrop)]
pub struct PciRegistration<D: PciDriver> {
    mdev: Arc<DriverRegistration<D>>,
    name: &'static CStr,
    ids: KVec<raw::pci_device_id>,
    #[pin]
    pci: Opaque<raw::pci_driver>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The driver core does the locking for the driver; the other fields are never written.
unsafe impl<D: PciDriver> Send for PciRegistration<D> {}
// SAFETY: As for `Send`.
unsafe impl<D: PciDriver> Sync for PciRegistration<D> {}

impl<D: PciDriver> PciRegistration<D> {
    /// Registers the driver `name`, and the driver of its mdevs.
    ///
    /// # Errors
    ///
    /// ENOMEM; else the error of the driver core, for instance EBUSY if the name is taken.
    pub fn new(name: &'static CStr) -> impl PinInit<Self, Error> {
        const {
            assert!(
                0 < D::DMA_BITS && D::DMA_BITS <= 64,
                "the hardware's addresses have 1 to 64 bits"
            );
        }
        // INVARIANT: The driver is registered last.
        try_pin_init!(&this in Self {
            mdev: Arc::pin_init(DriverRegistration::new(), GFP_KERNEL)?,
            name,
            ids: {
                let mut ids = KVec::with_capacity(D::IDS.len() + 1, GFP_KERNEL)?;
                for id in D::IDS {
                    let mut raw: raw::pci_device_id = pin_init::zeroed();
                    (raw.vendor, raw.device) = (id.vendor.into(), id.device.into());
                    (raw.subvendor, raw.subdevice) = (u32::MAX, u32::MAX);
                    ids.push(raw, GFP_KERNEL)?;
                }
                ids.push(pin_init::zeroed(), GFP_KERNEL)?;
                ids
            },
            _pin: PhantomPinned,
            pci <- Opaque::try_ffi_init(move |slot: *mut raw::pci_driver| {
                // SAFETY: `slot` is valid for writes. All other fields are initialized and pinned
                // with it, and the driver is unregistered before they are dropped.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).name = name.as_char_ptr();
                    (*slot).id_table = (*this.as_ptr()).ids.as_ptr();
                    (*slot).probe = Some(Self::probe);
                    (*slot).remove = Some(Self::remove);
                    // A bind or unbind by user space of what mdevs depend on is ordered by the
                    // driver core, which holds the device's lock.
                    to_result(raw::__pci_register_driver(
                        slot,
                        D::OWNER.as_ptr(),
                        name.as_char_ptr(),
                    ))
                }
            }),
        })
    }

    /// Prepares a function, and makes it a parent.
    ///
    /// # Safety
    ///
    /// `pdev` must be bound to the driver that calls this.
    unsafe fn bind(&self, pdev: *mut raw::pci_dev) -> Result {
        // SAFETY: The caller guarantees that the function is being bound to this driver. Devices of
        // the kernel crate are the structures of C; what is made of these references ends with the
        // binding.
        let (function, device) = unsafe {
            let function = &*pdev.cast::<pci::Device<Bound>>();
            (function, &*(&raw mut (*pdev).dev).cast::<Device<Bound>>())
        };
        // SAFETY: The function is bound, and nothing maps memory for it yet.
        unsafe {
            to_result(raw::pcim_enable_device(pdev))?;
            raw::pci_set_master(pdev);
            let mask = u64::MAX >> (64 - D::DMA_BITS);
            to_result(raw::dma_set_mask_and_coherent(&raw mut (*pdev).dev, mask))?;
        }
        let data = D::probe(&PciFunction::new(function, self.name))?;
        // SAFETY: The mask is set. `remove` drops the registration, and the function is bound until
        // that returns.
        let parent =
            unsafe { ParentRegistration::<D>::with_hardware(self.mdev.clone(), device, data) };
        let parent = KBox::pin_init(parent, GFP_KERNEL)?;
        // SAFETY: The function is being bound, so its driver data belongs to this driver.
        unsafe { raw::dev_set_drvdata(&raw mut (*pdev).dev, parent.into_foreign().cast()) };
        Ok(())
    }

    /// # Safety
    ///
    /// `pdev` must be a function that is being bound to a registered driver of `D`, and the PCI
    /// core must be the caller.
    unsafe extern "C" fn probe(pdev: *mut raw::pci_dev, _: *const raw::pci_device_id) -> c_int {
        // SAFETY: The driver core sets the driver before it probes, and the caller guarantees that
        // it is the one in a pinned `Self`.
        let result = unsafe {
            let driver = container_of!((*pdev).dev.driver, raw::pci_driver, driver);
            let this = container_of!(Opaque::cast_from(driver), Self, pci);
            (*this).bind(pdev)
        };
        result.map_or_else(Error::to_errno, |()| 0)
    }

    /// # Safety
    ///
    /// `pdev` must be a function that was bound to a driver of `D` with success and is being
    /// unbound, and the PCI core must be the caller.
    unsafe extern "C" fn remove(pdev: *mut raw::pci_dev) {
        // SAFETY: `bind` succeeded, so it has stored the registration, which is taken back once.
        drop(unsafe {
            let data = raw::dev_get_drvdata(&raw mut (*pdev).dev);
            Pin::<KBox<ParentRegistration<D>>>::from_foreign(data.cast())
        });
    }
}

#[pinned_drop]
impl<D: PciDriver> PinnedDrop for PciRegistration<D> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the driver is registered.
        unsafe { raw::pci_unregister_driver(self.pci.get()) };
    }
}
