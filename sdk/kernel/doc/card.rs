// SPDX-License-Identifier: GPL-2.0

// The parts of a driver that an example in a comment of the SDK does not show. Each example is a
// crate of its own; one that must be a whole module includes this file and calls the macros for the
// parts that it leaves out.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};
use mdev_sdk::{
    model::{
        config::{Bar, Identity},
        stream::{name, Format, LoadError, Tag, HEADER_LEN},
    },
    Budget, Codec, Context, Driver, Migrate, NewDevice, Operations, Pending, Phase, Progress,
    RecordWriter, Share, Type,
};

/// Makes the example a module.
macro_rules! module_of_card {
    () => {
        mdev_sdk::module_mdev_driver! {
            driver: Card,
            parent: c"card",
            parent_driver: c"card",
            parent_data: Budget::new(16)?,
            name: "card",
            authors: ["The mdev SDK authors"],
            description: "A card",
            license: "GPL",
        }
    };
}

/// Implements `Driver` for `Card`.
macro_rules! driver_of_card {
    () => {
        struct Card;

        #[vtable]
        impl Driver for Card {
            const OWNER: &'static ThisModule = mdev_sdk::this_module!();
            const NAME: &'static CStr = c"card";
            const TYPES: &'static [Type] = &[];
            type Parent = Budget;
            type Open = OpenCard;

            fn available(_: &Budget, _: usize) -> u32 {
                0
            }
            fn create(_: &NewDevice<'_, Self>) -> Result<Self> {
                Err(ENOSPC)
            }
            fn open(&self, _: Arc<Context>) -> impl PinInit<OpenCard, Error> {
                OpenCard::new()
            }
        }
    };
}

/// Defines `OpenCard`, the card while it is open.
macro_rules! open_card {
    () => {
        #[pin_data]
        struct OpenCard {
            #[pin]
            register: Mutex<[u8; 4]>,
        }

        impl OpenCard {
            fn new() -> impl PinInit<Self, Error> {
                try_pin_init!(Self { register <- new_mutex!([0; 4], "card_register") })
            }
        }
    };
}

/// Implements `Operations` for `OpenCard`.
macro_rules! operations_of_card {
    () => {
        #[vtable]
        impl Operations for OpenCard {
            fn read(&self, _: &Context, _: usize, _: u64, _: &mut [u8]) -> Result {
                Ok(())
            }
            fn write(&self, _: &Context, _: usize, _: u64, _: &[u8]) -> Result {
                Ok(())
            }
            fn reset(&self, _: &Context) -> Result {
                Ok(())
            }
        }
    };
}

/// Implements `Migrate` for `OpenCard`.
macro_rules! migrate_of_card {
    () => {
        #[vtable]
        impl Migrate for OpenCard {
            const FORMAT: Format = Format {
                name: name("card"),
                version: 1,
                oldest: 1,
                readable_by: 1,
            };
            const RECORDS: &'static [(Tag, usize)] = &[];
            type Saving = ();
            type Loading = ();

            fn start_saving(&self) -> Result {
                Ok(())
            }
            fn pending(&self, _: Option<&()>) -> Pending {
                Pending::default()
            }
            fn save(&self, _: &mut (), _: Phase, _: &mut RecordWriter<'_>) -> Result<Progress> {
                Ok(Progress::Done)
            }
            fn start_loading(&self) -> Result {
                Ok(())
            }
            fn load(&self, _: &mut (), _: Tag, _: &[u8]) -> Result<(), LoadError> {
                Ok(())
            }
            fn complete(&self, _: &()) -> Result<(), LoadError> {
                Ok(())
            }
            fn commit(&self, _: &Context, _: ()) {}
        }
    };
}
