// SPDX-License-Identifier: GPL-2.0

//! A card that computes checksums of a guest's memory, which a ring in guest memory requests.

#![forbid(unsafe_code)]

pub mod card;

use card::{Card, Next, Request, DATA_MAX, FAILED, FORMAT, OLDER, REGISTERS, SUMMED};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
};
use mdev_sdk::{
    crc32c,
    model::{
        config::{Bar, Identity},
        field,
        record::{Field, Older},
        registers,
        stream::{name, Format},
    },
    Attribute, Budget, Codec, Context, Driver, Engine, FixedState, GuestArray, NewDevice,
    Operations, Share, Step, Task, Type,
};

mdev_sdk::module_mdev_driver! {
    driver: Digest,
    parent: c"digest",
    parent_driver: c"digest",
    parent_data: Budget::new(16)?,
    name: "digest",
    authors: ["The mdev SDK authors"],
    description: "A card that computes checksums of a guest's memory",
    license: "GPL",
}

/// A card from `create` to `remove`.
struct Digest {
    _card: Share,
    served: Arc<Atomic<u64>>,
}

#[vtable]
impl Driver for Digest {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"digest";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Digest card",
        description: c"Checksums of guest memory, by a ring of requests",
        identity: Identity {
            bars: Bar::memory32(4096).alone(),
            ..Identity::new(0x4447, 0x5354)
        },
        kind: name("digest-1"),
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    const ATTRIBUTES: &'static [Attribute<Self>] = &[Attribute::read_write(
        // How many requests the card has served since it was created, or since 0 was written.
        c"served",
        |card, out| write!(out, "{}", card.served.load(Relaxed)),
        |card, text| match text {
            "0" => {
                card.served.store(0, Relaxed);
                Ok(())
            }
            _ => Err(EINVAL),
        },
    )];
    type Parent = Budget;
    type Open = OpenDigest;

    fn available(cards: &Budget, _type_index: usize) -> u32 {
        cards.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Digest {
            _card: new.parent.take(1)?,
            served: Arc::new(Atomic::new(0), GFP_KERNEL)?,
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenDigest, Error> {
        OpenDigest::new(cx, self.served.clone())
    }
}

/// The card, and its work: serving requests.
#[pin_data]
struct Requests {
    #[pin]
    card: Mutex<Card>,
    /// The ring that was used last. Only the engine locks it, and what stops the engine.
    #[pin]
    ring: Mutex<Option<GuestArray<Request>>>,
    served: Arc<Atomic<u64>>,
}

impl Requests {
    /// Serves a request: reads it, and writes the sum and the status, each by itself.
    fn serve(&self, cx: &Context, next: Next) -> Result {
        let mut kept = self.ring.lock();
        let ring = match &mut *kept {
            Some(ring) if (ring.iova(), ring.len()) == (next.ring, next.entries) => ring,
            other => other.insert(GuestArray::new(cx.memory(), next.ring, next.entries)?),
        };
        let request = ring.read(next.index)?;
        let (status, sum) = match sum(cx, &request) {
            Ok(sum) => (SUMMED, sum),
            Err(_) => (FAILED, 0),
        };
        ring.write_field(next.index, field!(Request, sum), &sum)?;
        // Last: a guest that sees it finds the sum.
        ring.write_field(next.index, field!(Request, status), &status)
    }
}

/// Returns the CRC32C of the data of `request`.
fn sum(cx: &Context, request: &Request) -> Result<u32> {
    let len = request.len as usize;
    if len > DATA_MAX {
        return Err(EINVAL);
    }
    let data = cx.memory().pin_read(request.address, len)?;
    let mut piece = [0; 256];
    let mut crc = !0;
    for start in (0..len).step_by(piece.len()) {
        let some = piece.len().min(len - start);
        data.read(start, &mut piece[..some])?;
        crc = crc32c(crc, &piece[..some]);
    }
    Ok(!crc)
}

impl Task for Requests {
    fn step(&self, cx: &Context) -> Step {
        let Some(next) = self.card.lock().next() else {
            // What is pinned would be dirty for the container at each of its reports.
            *self.ring.lock() = None;
            return Step::Idle;
        };
        let served = self.serve(cx, next);
        self.served.fetch_add(served.is_ok().into(), Relaxed);
        let mut card = self.card.lock();
        card.finish(served.is_ok());
        cx.set_interrupt(card.interrupt());
        Step::More
    }
}

/// An open card.
struct OpenDigest(Engine<Requests>);

impl OpenDigest {
    fn new(cx: Arc<Context>, served: Arc<Atomic<u64>>) -> Result<Self> {
        let requests = pin_init!(Requests {
            card <- new_mutex!(Card::ZERO, "digest_card"),
            ring <- new_mutex!(None, "digest_ring"),
            served,
        });
        Ok(OpenDigest(Engine::new(cx, requests)?))
    }
}

#[vtable]
impl Operations for OpenDigest {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        registers::read(REGISTERS, &*self.0.card.lock(), offset, data);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut card = self.0.card.lock();
        registers::write(REGISTERS, &mut *card, offset, data);
        cx.set_interrupt(card.interrupt());
        if card.next().is_some() {
            self.0.kick();
        }
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        *self.0.ring.lock() = None;
        *self.0.card.lock() = Card::ZERO;
        cx.set_interrupt(false);
        Ok(())
    }
}

/// What is pinned for the ring is not saved: the state says where the ring is, and the engine goes
/// on with it at the destination.
#[vtable]
impl FixedState for OpenDigest {
    const FORMAT: Format = FORMAT;
    const OLDER: &'static [Older<Card>] = OLDER;
    type State = Card;

    fn state(&self) -> &Mutex<Card> {
        &self.0.card
    }

    fn restored(&self, cx: &Context, card: &Card) {
        cx.set_interrupt(card.interrupt());
    }
}
