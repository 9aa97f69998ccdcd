// SPDX-License-Identifier: GPL-2.0

//! [`module_mdev_pci_driver!`]: a kernel module of one mdev driver whose parents are PCI functions.

/// Defines the current crate's kernel module, which registers `driver` for the PCI functions of its
/// [`PciDriver`](crate::PciDriver). Each of them is a parent of mdevs.
///
/// `parent_driver` is the name of the PCI driver, and the first part of the names of its types. The
/// other arguments are those of the kernel's `module!`.
///
/// The module has no alias, so nothing loads it by itself: a function may be wanted by the host's
/// own driver for it. An administrator loads the module, and binds a function to it.
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
/// # use mdev_sdk::{PciDriver, PciFunction, PciId};
/// # impl PciDriver for Card {
/// #     const IDS: &'static [PciId] = &[];
/// #     const DMA_BITS: u32 = 32;
/// #     fn probe(function: &PciFunction<'_>) -> Result<Budget> {
/// #         Budget::new(16)
/// #     }
/// # }
/// mdev_sdk::module_mdev_pci_driver! {
///     driver: Card,
///     parent_driver: c"my",
///     name: "my_mdev",
///     authors: ["Me"],
///     description: "My card, shared",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_mdev_pci_driver {
    (
        driver: $driver:ty,
        parent_driver: $parent_driver:expr,
        $($module:tt)*
    ) => {
        /// The module.
        #[::kernel::prelude::pin_data]
        pub struct MdevModule {
            #[pin]
            registration: $crate::PciRegistration<$driver>,
        }

        impl ::kernel::InPlaceModule for MdevModule {
            fn init(
                _module: &'static ::kernel::ThisModule,
            ) -> impl ::kernel::prelude::PinInit<Self, ::kernel::error::Error> {
                ::kernel::prelude::try_pin_init!(Self {
                    registration <- $crate::PciRegistration::new($parent_driver),
                })
            }
        }

        ::kernel::prelude::module! {
            type: MdevModule,
            $($module)*
        }
    };
}
