// SPDX-License-Identifier: GPL-2.0

//! [`module_mdev_driver!`]: a kernel module of one mdev driver and one virtual parent.

/// Defines the current crate's kernel module, which registers `driver` and one virtual parent.
///
/// `parent` is the name of the parent device, `parent_driver` the first part of its type names, and
/// `parent_data` the data that its mdevs share. The other arguments are those of the kernel's
/// `module!`.
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
/// mdev_sdk::module_mdev_driver! {
///     driver: Card,
///     parent: c"my_parent",
///     parent_driver: c"my",
///     parent_data: mdev_sdk::Budget::new(16)?,
///     name: "my_mdev",
///     authors: ["Me"],
///     description: "My mediated device",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_mdev_driver {
    (
        driver: $driver:ty,
        parent: $parent:expr,
        parent_driver: $parent_driver:expr,
        parent_data: $parent_data:expr,
        $($module:tt)*
    ) => {
        /// The module; fields are dropped in order, so mdevs are removed before their parent.
        #[::kernel::prelude::pin_data]
        struct MdevModule {
            #[pin]
            registration: $crate::ParentRegistration<$driver>,
            #[pin]
            parent: $crate::VirtualParent,
        }

        impl ::kernel::InPlaceModule for MdevModule {
            fn init(
                module: &'static ::kernel::ThisModule,
            ) -> impl ::kernel::prelude::PinInit<Self, ::kernel::error::Error> {
                ::kernel::prelude::try_pin_init!(Self {
                    parent <- $crate::VirtualParent::new(module, $parent, $parent_driver),
                    registration <- $crate::ParentRegistration::new(
                        ::kernel::sync::Arc::pin_init(
                            $crate::DriverRegistration::new(),
                            ::kernel::prelude::GFP_KERNEL,
                        )?,
                        parent.device(),
                        $parent_data,
                    ),
                })
            }
        }

        ::kernel::prelude::module! {
            type: MdevModule,
            $($module)*
        }
    };
}
