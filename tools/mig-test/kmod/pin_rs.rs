// SPDX-License-Identifier: GPL-2.0

//! Pins guest memory with the SDK, to measure its cost: a driver of a card that does nothing else.
//! `pin_c.c` is its peer; the registers are in `pin_registers.rs`.

#![forbid(unsafe_code)]

#[macro_use]
mod no_migration;
pub mod pin_registers;

use kernel::page::PAGE_SIZE;
use kernel::sync::{Arc, Mutex};
use kernel::{new_mutex, prelude::*};
use mdev_sdk::model::{
    config::{Bar, Identity},
    stream::name,
};
use mdev_sdk::{Codec, Context, Driver, NewDevice, Operations, Type};
use pin_registers::*;

mdev_sdk::module_mdev_driver! {
    driver: PinRs,
    parent: c"pin_rs",
    parent_driver: c"pin_rs",
    parent_data: (),
    name: "pin_rs",
    authors: ["The mdev SDK authors"],
    description: "Pins guest memory with the mdev SDK, for a benchmark",
    license: "GPL",
}

const BYTES_MAX: usize = 256;

#[derive(Clone, Copy)]
struct Registers {
    first: u32,
    pages: u32,
    bytes: usize,
}

impl Registers {
    fn iova(&self) -> u64 {
        u64::from(self.first) * PAGE_SIZE as u64
    }

    fn len(&self) -> usize {
        self.pages as usize * PAGE_SIZE
    }
}

#[pin_data]
struct Card {
    data: [u8; BYTES_MAX],
    #[pin]
    registers: Mutex<Registers>,
}

impl Card {
    fn run(&self, cx: &Context, registers: &Registers, rounds: u32) -> Result {
        if registers.pages > PAGES_MAX {
            return Err(EINVAL);
        }
        for _ in 0..rounds {
            let pinned = cx.memory().pin_write(registers.iova(), registers.len())?;
            for page in 0..registers.pages as usize {
                pinned.write(page * PAGE_SIZE, &self.data[..registers.bytes])?;
            }
        }
        Ok(())
    }
}

/// The card from `create` to `remove`, which has no data.
struct PinRs;

#[vtable]
impl Driver for PinRs {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"pin_rs";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Pins, writes, unpins",
        description: c"Card of a benchmark",
        identity: Identity {
            intx: false,
            msi: 0,
            bars: Bar::memory32(PAGE_SIZE as u32).alone(),
            needs_bus_master: false,
            ..Identity::new(0x5049, 0x4e53)
        },
        kind: name("pin_rs-1"),
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    type Parent = ();
    type Open = Card;

    fn available(_parent: &(), _type_index: usize) -> u32 {
        1
    }

    fn create(_new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(PinRs)
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<Card, Error> {
        let registers = Registers {
            first: 0,
            pages: 1,
            bytes: 0,
        };
        try_pin_init!(Card {
            data: [0xa5; BYTES_MAX],
            registers <- new_mutex!(registers, "pin_registers"),
        })
    }
}

#[vtable]
impl Operations for Card {
    fn read(&self, _cx: &Context, _bar: usize, _offset: u64, _data: &mut [u8]) -> Result {
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let value = u32::from_le_bytes(data.try_into().map_err(|_| EINVAL)?);
        // A copy, because guest memory is accessed without a lock.
        let registers = *self.registers.lock();
        match offset {
            FIRST => self.registers.lock().first = value,
            PAGES if value > 0 => self.registers.lock().pages = value,
            BYTES if value as usize <= BYTES_MAX => self.registers.lock().bytes = value as usize,
            RUN => return self.run(cx, &registers, value),
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn reset(&self, _cx: &Context) -> Result {
        Ok(())
    }
}

does_not_migrate!(Card, "pin_rs");
