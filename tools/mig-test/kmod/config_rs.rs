// SPDX-License-Identifier: GPL-2.0

//! A card with capabilities, which says what it learns of its configuration space, and accesses
//! guest memory as it is told. The registers are in `config_registers.rs`.

#![forbid(unsafe_code)]

pub mod config_registers;

use config_registers::*;
use kernel::{new_mutex, prelude::*, sync::Arc, sync::Mutex};
use mdev_sdk::model::{
    config::{Bar, Capability, Identity},
    record::Record,
    stream::{name, Format},
};
use mdev_sdk::{
    Budget, Codec, Context, Driver, FixedState, NewDevice, Operations, Pinned, Share, Type, Write,
};

mdev_sdk::module_mdev_driver! {
    driver: ConfigRs,
    parent: c"config_rs",
    parent_driver: c"config_rs",
    parent_data: Budget::new(16)?,
    name: "config_rs",
    authors: ["The mdev SDK authors"],
    description: "Cards with capabilities in configuration space, for tests of the mdev SDK",
    license: "GPL",
}

/// A capability with the mailbox: the guest can write its first four bytes.
const MAILBOX_OF_EXPRESS: Capability = Capability::ExtendedVendorSpecific {
    id: 1,
    revision: 2,
    bytes: &MAILBOX_BYTES,
    writable: &[0xff; 4],
};
/// Returns the capabilities of an express device with this serial number.
const fn capabilities(serial: u64) -> [Capability; 5] {
    [
        Capability::PowerManagement,
        Capability::Express { flr: true },
        Capability::VendorSpecific {
            bytes: &[0x11, 0x22, 0x33],
            writable: &[0, 0xf0],
        },
        Capability::SerialNumber(serial),
        MAILBOX_OF_EXPRESS,
    ]
}
const EXPRESS: Identity = Identity {
    capabilities: &capabilities(SERIAL),
    config_size: 4096,
    ..Identity::new(0x4346, 0x0001)
};
/// As `EXPRESS`, with another serial number.
const OTHER: Identity = Identity {
    capabilities: &capabilities(SERIAL + 1),
    ..EXPRESS
};
/// Without a function-level reset, and with guest memory that needs no bus master.
const FREE: Identity = Identity {
    capabilities: &[Capability::Express { flr: false }, MAILBOX_OF_EXPRESS],
    needs_bus_master: false,
    ..EXPRESS
};
/// A conventional device, whose mailbox is in a conventional capability.
const CONVENTIONAL: Identity = Identity {
    capabilities: &[Capability::VendorSpecific {
        bytes: &[0, 0, 0, 0, 0, 0],
        writable: &[0, 0xff, 0xff, 0xff, 0xff],
    }],
    config_size: 256,
    ..EXPRESS
};

/// The identities in the order of the types, and the offsets of their mailboxes.
const IDENTITIES: [(&CStr, Identity, u64); 4] = [
    (c"express", EXPRESS, mailbox(&EXPRESS, 4, 8)),
    (c"other", OTHER, mailbox(&OTHER, 4, 8)),
    (c"free", FREE, mailbox(&FREE, 1, 8)),
    (c"conventional", CONVENTIONAL, mailbox(&CONVENTIONAL, 0, 4)),
];

/// Returns the offset of the bytes behind the header of a capability, which has so many bytes.
const fn mailbox(identity: &Identity, capability: usize, header: usize) -> u64 {
    match identity.capability_at(capability) {
        Some(at) => (at + header) as u64,
        None => panic!("there is no such capability"),
    }
}

const TYPES: [Type; IDENTITIES.len()] = {
    let mut types = [const {
        Type {
            sysfs_name: c"",
            name: c"Configuration space",
            description: c"A card of a test",
            identity: EXPRESS,
            // One kind, so that only configuration space tells them apart.
            kind: name("config"),
            geometry: [0; 2],
            codec: Codec::Records,
        }
    }; IDENTITIES.len()];
    let mut index = 0;
    while index < types.len() {
        let (name, identity, _) = IDENTITIES[index];
        types[index].sysfs_name = name;
        types[index].identity = Identity {
            bars: Bar::memory32(SIZE).alone(),
            ..identity
        };
        index += 1;
    }
    types
};

mdev_sdk::model::record! {
    /// What migrates.
    struct Saved {
        resets: u32,
    }
}

impl Record for Saved {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// What the card has learned.
#[derive(Clone, Copy)]
struct Learned {
    calls: u32,
    offset: u32,
    length: u32,
    mailbox: u32,
    master: u32,
    probed: u32,
    iova: u64,
}

struct ConfigRs {
    type_index: usize,
    _share: Share,
}

#[pin_data]
struct Card {
    /// Offset of the mailbox in configuration space.
    mailbox_at: u64,
    #[pin]
    saved: Mutex<Saved>,
    #[pin]
    learned: Mutex<Learned>,
    #[pin]
    pin: Mutex<Option<Pinned<Write>>>,
}

impl Card {
    fn new(mailbox_at: u64) -> impl PinInit<Self, Error> {
        let nothing = Learned {
            calls: 0,
            offset: 0,
            length: 0,
            mailbox: 0,
            master: 0,
            probed: 0,
            iova: 0,
        };
        try_pin_init!(Self {
            mailbox_at,
            saved <- new_mutex!(Saved { resets: 0 }, "config_saved"),
            learned <- new_mutex!(nothing, "config_learned"),
            pin <- new_mutex!(None, "config_pin"),
        })
    }

    /// Copies the mailbox. The lock is held meanwhile, so that the copy is that of the last write.
    fn learn(&self, cx: &Context, learned: &mut Learned) {
        let mut bytes = [0; 4];
        // The mailbox is in bounds.
        let _ = cx.read_config(self.mailbox_at, &mut bytes);
        learned.mailbox = u32::from_le_bytes(bytes);
        learned.master = cx.is_bus_master().into();
    }

    fn call(&self, cx: &Context, call: u32) -> Result {
        let iova = self.learned.lock().iova;
        let memory = cx.memory();
        match call {
            READ => memory.read(iova, &mut [0]),
            WRITE => memory.write(iova, &[0x5a]),
            PIN => {
                let new = memory.pin_write(iova, 1)?;
                let old = self.pin.lock().replace(new);
                // The lock is free again when the old range is unpinned.
                drop(old);
                Ok(())
            }
            PINNED_READ => self.pin.lock().as_ref().ok_or(ENOENT)?.read(0, &mut [0]),
            PINNED_WRITE => self.pin.lock().as_ref().ok_or(ENOENT)?.write(0, &[0xa5]),
            UNPIN => {
                let old = self.pin.lock().take();
                drop(old);
                Ok(())
            }
            START => memory.pin_dma(iova, 1, || ())?.start(|| ()),
            _ => Err(EINVAL),
        }
    }
}

#[vtable]
impl Driver for ConfigRs {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"config_rs";
    const TYPES: &'static [Type] = &TYPES;
    type Parent = Budget;
    type Open = Card;

    fn available(cards: &Budget, _type_index: usize) -> u32 {
        cards.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(ConfigRs {
            type_index: new.type_index,
            _share: new.parent.take(1)?,
        })
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<Card, Error> {
        Card::new(IDENTITIES[self.type_index].2)
    }
}

#[vtable]
impl Operations for Card {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let learned = *self.learned.lock();
        let value = match offset {
            CALLS => learned.calls,
            OFFSET => learned.offset,
            LENGTH => learned.length,
            MAILBOX => learned.mailbox,
            MASTER => learned.master,
            PROBE => learned.probed,
            RESETS => self.saved.lock().resets,
            _ => 0,
        };
        let value = value.to_le_bytes();
        let some = data.len().min(value.len());
        data[..some].copy_from_slice(&value[..some]);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let narrow = || Ok::<_, Error>(u32::from_le_bytes(data.try_into().map_err(|_| EINVAL)?));
        match offset {
            PROBE => {
                let mut bytes = [0; 4];
                cx.read_config(narrow()?.into(), &mut bytes)?;
                self.learned.lock().probed = u32::from_le_bytes(bytes);
            }
            IOVA => {
                let iova = data.try_into().map_err(|_| EINVAL)?;
                self.learned.lock().iova = u64::from_le_bytes(iova);
            }
            CALL => self.call(cx, narrow()?)?,
            _ => {}
        }
        Ok(())
    }

    fn config_written(&self, cx: &Context, offset: u64, len: usize) {
        let mut learned = self.learned.lock();
        learned.calls += 1;
        learned.offset = offset as u32;
        learned.length = len as u32;
        self.learn(cx, &mut learned);
    }

    fn reset(&self, cx: &Context) -> Result {
        let old = self.pin.lock().take();
        drop(old);
        self.saved.lock().resets += 1;
        self.learn(cx, &mut self.learned.lock());
        Ok(())
    }
}

#[vtable]
impl FixedState for Card {
    const FORMAT: Format = Format::first("config_rs");
    type State = Saved;

    fn state(&self) -> &Mutex<Saved> {
        &self.saved
    }

    fn restored(&self, cx: &Context, _saved: &Saved) {
        self.learn(cx, &mut self.learned.lock());
    }
}
