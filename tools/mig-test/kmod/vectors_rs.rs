// SPDX-License-Identifier: GPL-2.0

//! A card whose guest drives its interrupt vectors by registers: their levels, and events. The
//! scenario `vectors` tests the SDK's interrupts with it.

#![forbid(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};
use mdev_sdk::{
    model::{
        config::{Bar, Identity, Msix},
        record::Record,
        stream::{name, Format},
    },
    Budget, Codec, Context, Driver, FixedState, NewDevice, Operations, Share, Type,
};

mdev_sdk::module_mdev_driver! {
    driver: Cards,
    parent: c"vectors",
    parent_driver: c"vectors",
    parent_data: Budget::new(16)?,
    name: "vectors_rs",
    authors: ["The mdev SDK authors"],
    description: "Cards with many interrupt vectors, for tests of the mdev SDK",
    license: "GPL",
}

/// Register, write only: sends an event of this vector.
const EVENT: u64 = 0x00;
/// Register, write only: asserts this vector.
const ASSERT: u64 = 0x04;
/// Register, write only: deasserts this vector.
const DEASSERT: u64 = 0x08;

/// The most vectors of a card.
const VECTORS: usize = 2048;

/// Returns what all cards with so many vectors have in common.
const fn card(msi: u8, msix: u16) -> Type {
    let mut bars = [Bar::None; 6];
    bars[0] = Bar::memory32(4096);
    bars[1] = Bar::memory32(1 << 16);
    Type {
        sysfs_name: c"",
        name: c"Interrupt vectors",
        description: c"A card of a test",
        identity: Identity {
            msi,
            msix: Some(Msix {
                vectors: msix,
                bar: 1,
                table: 0,
                pending: 0x8000,
            }),
            bars,
            ..Identity::new(0x5645, 0x4354)
        },
        kind: name("vectors"),
        geometry: [msix as u64, 0],
        codec: Codec::Records,
    }
}

mdev_sdk::model::record! {
    /// The levels of the vectors: vector 0 in the lowest bit of the first word.
    struct Levels {
        words: [u32; VECTORS / 32],
    }
}

impl Record for Levels {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl Levels {
    fn set(&mut self, vector: usize, asserted: bool) {
        if let Some(word) = self.words.get_mut(vector / 32) {
            let bit = 1 << (vector % 32);
            *word = *word & !bit | if asserted { bit } else { 0 };
        }
    }

    fn drive(&self, cx: &Context, vectors: usize) {
        for vector in 0..vectors {
            let level = self.words[vector / 32] & 1 << (vector % 32) != 0;
            cx.set_vector(vector, level);
        }
    }
}

/// A card from `create` to `remove`.
struct Cards {
    vectors: usize,
    _share: Share,
}

/// An open card.
#[pin_data]
struct OpenCard {
    vectors: usize,
    #[pin]
    levels: Mutex<Levels>,
}

#[vtable]
impl Driver for Cards {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"vectors_rs";
    const TYPES: &'static [Type] = &[
        Type {
            sysfs_name: c"few",
            ..card(8, 4)
        },
        Type {
            sysfs_name: c"many",
            ..card(32, 2048)
        },
    ];
    type Parent = Budget;
    type Open = OpenCard;

    fn available(cards: &Budget, _type_index: usize) -> u32 {
        cards.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Cards {
            vectors: Self::TYPES[new.type_index].identity.vectors(),
            _share: new.parent.take(1)?,
        })
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
        let vectors = self.vectors;
        try_pin_init!(OpenCard {
            vectors,
            levels <- new_mutex!(Levels { words: [0; VECTORS / 32] }, "vectors_levels"),
        } ? Error)
    }
}

#[vtable]
impl Operations for OpenCard {
    fn read(&self, _cx: &Context, _bar: usize, _offset: u64, _data: &mut [u8]) -> Result {
        Ok(())
    }

    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result {
        let (0, Ok(vector)) = (bar, <[u8; 4]>::try_from(data)) else {
            return Ok(());
        };
        let vector = u32::from_le_bytes(vector) as usize;
        match offset {
            EVENT => cx.send_event(vector),
            ASSERT | DEASSERT => {
                let mut levels = self.levels.lock();
                levels.set(vector, offset == ASSERT);
                cx.set_vector(vector, offset == ASSERT);
            }
            _ => {}
        }
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut levels = self.levels.lock();
        levels.words.fill(0);
        levels.drive(cx, self.vectors);
        Ok(())
    }
}

#[vtable]
impl FixedState for OpenCard {
    const FORMAT: Format = Format::first("vectors");
    type State = Levels;

    fn state(&self) -> &Mutex<Levels> {
        &self.levels
    }

    fn restored(&self, cx: &Context, levels: &Levels) {
        levels.drive(cx, self.vectors);
    }
}
