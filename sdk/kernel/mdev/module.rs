// SPDX-License-Identifier: GPL-2.0

//! [`module_mdev_driver!`]: a kernel module of one mdev driver and one virtual parent; and
//! [`module_mdev_model!`], the same for a device that is a model.

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
        pub struct MdevModule {
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
                        <::kernel::sync::Arc<_> as ::kernel::prelude::InPlaceInit<_>>::pin_init(
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

/// Defines the current crate's kernel module, whose mdevs are the device `model`.
///
/// `model` is a type of this crate that implements
/// [`DeviceModel`](crate::model::device::DeviceModel). There can be as many mdevs as `devices`
/// says. They are of one type, `NAME/NAME-1`, with `description` as its text in sysfs. The other
/// arguments are those of the kernel's `module!`.
///
/// # Examples
///
/// ```
/// # fn main() {}
/// use kernel::prelude::*;
/// use mdev_sdk::model::prelude::{record, registers, *};
///
/// record! {
///     /// A card with a register that keeps what is written to it.
///     pub struct Card {
///         scratch: u32,
///     }
/// }
///
/// impl Record for Card {
///     fn check(&self) -> Result<(), &'static str> {
///         Ok(())
///     }
/// }
///
/// impl DeviceModel for Card {
///     const IDENTITY: Identity = Identity {
///         bars: Bar::memory32(4096).alone(),
///         ..Identity::new(0x1234, 0x0001)
///     };
///     const FORMAT: Format = Format::first("card");
///     const REGISTERS: &'static [Register<Self>] = registers! { Card {
///         0x00: u32, keep scratch;
///     } };
/// }
///
/// mdev_sdk::module_mdev_model! {
///     model: Card,
///     devices: 16,
///     name: "card",
///     authors: ["Me"],
///     description: "A card that migrates",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_mdev_model {
    (
        model: $model:ty,
        devices: $devices:expr,
        name: $name:literal,
        authors: [$($author:literal),* $(,)?],
        description: $description:literal,
        $($module:tt)*
    ) => {
        #[::kernel::prelude::vtable]
        impl $crate::ModelDriver for $model {
            const OWNER: &'static ::kernel::ThisModule = $crate::this_module!();
            const NAME: &'static ::kernel::prelude::CStr = $crate::module_mdev_model!(@text $name);
            const TYPES: &'static [$crate::Type] = &[$crate::Type {
                sysfs_name: c"1",
                name: $crate::module_mdev_model!(@text $description),
                description: $crate::module_mdev_model!(@text $description),
                identity: <$model as $crate::model::device::DeviceModel>::IDENTITY,
                kind: <$model as $crate::model::device::DeviceModel>::FORMAT.name,
                geometry: [0; 2],
                codec: $crate::Codec::Records,
            }];
        }

        $crate::module_mdev_driver! {
            driver: $crate::Modelled<$model>,
            parent: <$model as $crate::ModelDriver>::NAME,
            parent_driver: <$model as $crate::ModelDriver>::NAME,
            parent_data: $crate::Budget::new($devices)?,
            name: $name,
            authors: [$($author),*],
            description: $description,
            $($module)*
        }
    };
    (@text $text:literal) => {
        match ::core::ffi::CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a NUL in a name or description"),
        }
    };
}
