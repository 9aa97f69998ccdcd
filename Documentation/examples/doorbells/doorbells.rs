// SPDX-License-Identifier: GPL-2.0

//! A card with doorbells that a guest rings by writing to a mapped page: no write leads to user
//! space, or to the kernel while the card has not looked at the last one.
//!
//! BAR 0 has registers, a page of doorbells, a page of slots, and the table of MSI-X.

#![forbid(unsafe_code)]

pub mod queues;

use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
};
use mdev_sdk::model::{
    config::{Bar, Identity, Msix},
    record::{require, Field, Record},
    registers,
    stream::{name, Format, LoadError, Tag, HEADER_LEN},
};
use mdev_sdk::{
    Budget, Codec, Context, DeviceMemory, Driver, Engine, Migrate, NewDevice, Operations, Parts,
    Pending, Phase, Progress, RecordWriter, Share, Step, Task, Type,
};
use queues::{Card, BAR_SIZE, MSIX_AT, PAGE, PENDING, QUEUES, REGISTERS, SLOTS_AT, TAILS_AT};

mdev_sdk::module_mdev_driver! {
    driver: Doorbells,
    parent: c"doorbells",
    parent_driver: c"doorbells",
    parent_data: Budget::new(16)?,
    name: "doorbells",
    authors: ["The mdev SDK authors"],
    description: "A card with doorbells in mapped memory",
    license: "GPL",
}

const _: () = assert!(PAGE == PAGE_SIZE, "the parts of BAR 0 are pages");

struct Doorbells(#[expect(dead_code)] Share);

#[vtable]
impl Driver for Doorbells {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"doorbells";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Card with doorbells",
        description: c"Four queues of 256 numbers",
        identity: Identity {
            bars: Bar::memory32(BAR_SIZE).alone(),
            msi: QUEUES as u8,
            msix: Some(Msix {
                vectors: QUEUES as u16,
                bar: 0,
                table: MSIX_AT,
                pending: MSIX_AT + 0x800,
            }),
            ..Identity::new(0x4442, 0x4c4c)
        },
        kind: name("doorbells-1"),
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    type Parent = Budget;
    type Open = OpenCard;

    fn available(cards: &Budget, _type_index: usize) -> u32 {
        cards.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Doorbells(new.parent.take(1)?))
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
        OpenCard::new(cx)
    }
}

/// What the engine and the guest's accesses share.
#[pin_data]
struct Rings {
    #[pin]
    card: Mutex<Card>,
    tails: Arc<DeviceMemory>,
    slots: Arc<DeviceMemory>,
}

/// Returns the number with this index in `memory`.
fn number(memory: &DeviceMemory, index: usize) -> u32 {
    let mut bytes = [0; 4];
    // The index is in bounds.
    let _ = memory.read(index * bytes.len(), &mut bytes);
    u32::from_le_bytes(bytes)
}

impl Task for Rings {
    fn step(&self, cx: &Context) -> Step {
        // Before the tails are read: who writes one from here on rings again.
        while self.tails.take_dirty(0, PAGE).is_some() {}
        let mut card = self.card.lock();
        for queue in 0..QUEUES {
            let tail = number(&self.tails, queue);
            if card.take(queue, tail, |slot| number(&self.slots, slot)) {
                cx.set_vector(queue, true);
            }
        }
        Step::Idle
    }
}

struct OpenCard(Engine<Rings>);

impl OpenCard {
    fn new(cx: Arc<Context>) -> Result<Self> {
        let (tails, slots) = (DeviceMemory::new(PAGE)?, DeviceMemory::new(PAGE)?);
        let rings = pin_init!(Rings {
            card <- new_mutex!(Card::ZERO, "doorbells_card"),
            tails,
            slots,
        });
        Ok(OpenCard(Engine::new(cx, rings)?))
    }
}

/// Sets each vector while its queue is done.
fn update_vectors(cx: &Context, card: &Card) {
    (0..QUEUES).for_each(|queue| cx.set_vector(queue, card.is_done(queue)));
}

#[vtable]
impl Operations for OpenCard {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let card = self.0.card.lock();
        if offset == PENDING {
            let pending = card
                .pending(|queue| number(&self.0.tails, queue))
                .to_le_bytes();
            let some = data.len().min(pending.len());
            data[..some].copy_from_slice(&pending[..some]);
        } else {
            registers::read(REGISTERS, &*card, offset, data);
        }
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut card = self.0.card.lock();
        registers::write(REGISTERS, &mut *card, offset, data);
        update_vectors(cx, &card);
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        parts.doorbells(0, TAILS_AT, &self.0.tails, &self.0)?;
        parts.memory(0, SLOTS_AT, &self.0.slots)
    }

    fn reset(&self, cx: &Context) -> Result {
        let rings = &self.0;
        let mut card = rings.card.lock();
        rings.tails.clear();
        rings.slots.clear();
        *card = Card::ZERO;
        update_vectors(cx, &card);
        Ok(())
    }
}

/// The [`Card`].
const CARD: Tag = Tag(Tag::FIRST_DRIVER.0);
/// The bytes of the tails' page, and of the slots'.
const PAGES: [Tag; 2] = [Tag(Tag::FIRST_DRIVER.0 + 1), Tag(Tag::FIRST_DRIVER.0 + 2)];

struct Arrived {
    card: Option<Card>,
    pages: [KVec<u8>; 2],
}

#[vtable]
impl Migrate for OpenCard {
    const FORMAT: Format = Format::first("doorbells");
    const RECORDS: &'static [(Tag, usize)] =
        &[(CARD, Card::LEN), (PAGES[0], PAGE), (PAGES[1], PAGE)];
    type Saving = ();
    type Loading = Arrived;

    fn start_saving(&self) -> Result {
        Ok(())
    }

    fn pending(&self, _saving: Option<&()>) -> Pending {
        Pending {
            stop_copy: (3 * HEADER_LEN + Card::LEN + 2 * PAGE) as u64,
            ..Pending::default()
        }
    }

    fn save(&self, _saving: &mut (), phase: Phase, out: &mut RecordWriter<'_>) -> Result<Progress> {
        if phase == Phase::StopCopy {
            let rings = &self.0;
            // Whole: the dirty pages are the engine's.
            for (tag, memory) in PAGES.into_iter().zip([&rings.tails, &rings.slots]) {
                out.memory_record(tag, &[], memory, 0..PAGE)?;
            }
            let card = *rings.card.lock();
            out.record(CARD, &card.encode())?;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        Ok(Arrived {
            card: None,
            pages: [KVec::new(), KVec::new()],
        })
    }

    fn load(&self, arrived: &mut Arrived, tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        let Some(number) = PAGES.iter().position(|page| *page == tag) else {
            arrived.card = Some(Card::decode(payload)?);
            return Ok(());
        };
        require(payload.len() == PAGE, "a part of a page")?;
        let mut page = KVec::new();
        let copied = page.extend_from_slice(payload, GFP_KERNEL_ACCOUNT);
        copied.map_err(|_| LoadError::NoMemory)?;
        arrived.pages[number] = page;
        Ok(())
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        let whole = arrived.card.is_some() && arrived.pages.iter().all(|page| !page.is_empty());
        Ok(require(whole, "the card or a page is missing")?)
    }

    fn commit(&self, cx: &Context, arrived: Arrived) {
        let rings = &self.0;
        for (memory, page) in [&rings.tails, &rings.slots].into_iter().zip(&arrived.pages) {
            if let Err(e) = memory.write(0, page) {
                dev_err!(cx.device(), "doorbells: a page not taken over: {e:?}\n");
            }
        }
        if let Some(card) = arrived.card {
            *rings.card.lock() = card;
            update_vectors(cx, &card);
        }
    }
}
