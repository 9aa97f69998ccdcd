// SPDX-License-Identifier: GPL-2.0

//! A scratch card, the example of Documentation/vendor-guide.md: 64 KiB of memory that a guest
//! maps, and a doorbell that makes the card copy a page of guest memory into it.
//!
//! | BAR | offset | register | |
//! |---|---:|---|---|
//! | 0 | 0x00 | DOORBELL | write n: copy the page at ADDRESS to page n of BAR 1; not while BUSY |
//! | 0 | 0x04 | STATUS | BUSY 1, DONE 2, ERROR 4; DONE and ERROR assert the interrupt |
//! | 0 | 0x08 | INTERRUPT_CLEAR | write anything: DONE and ERROR become 0 |
//! | 0 | 0x10 | ADDRESS | 64 bits |
//! | 1 | | the memory | |

#![forbid(unsafe_code)]

use kernel::sync::{Arc, Mutex};
use kernel::{new_mutex, prelude::*};
use mdev_sdk::model::config::{Bar, Identity};
use mdev_sdk::model::record::{require, Field, Record};
use mdev_sdk::model::registers::{self, Register};
use mdev_sdk::model::stream::{name, Format, LoadError, Tag, HEADER_LEN};
use mdev_sdk::{
    Budget, Codec, Context, DeviceMemory, Driver, Engine, Migrate, NewDevice, Operations, Parts,
};
use mdev_sdk::{Pending, Phase, Progress, RecordWriter, Share, StagedMemory, Step, Task, Type};

mdev_sdk::module_mdev_driver! {
    driver: Scratch,
    parent: c"scratch",
    parent_driver: c"scratch",
    parent_data: Budget::new(MAX_CARDS)?,
    name: "scratch",
    authors: ["The mdev SDK authors"],
    description: "Scratch card, the example of the mdev SDK's vendor guide",
    license: "GPL",
}

const MAX_CARDS: u32 = 16;
const PAGE: usize = 4096;
const PAGES: usize = 16;
const REGISTERS_SIZE: usize = 0x20;
const MEMORY_BAR: usize = 1;
const BUSY: u8 = 1;
const DONE: u8 = 2;
const ERROR: u8 = 4;

const BARS: [Bar; 6] = {
    let mut bars = [Bar::None; 6];
    bars[0] = Bar::memory32(REGISTERS_SIZE as u32);
    bars[MEMORY_BAR] = Bar::Memory32 {
        size: (PAGES * PAGE) as u32,
        prefetchable: true,
    };
    bars
};

/// A card from `create` to `remove`.
struct Scratch {
    _card: Share,
}

mdev_sdk::model::record! {
    /// What migrates, apart from the memory.
    struct Registers {
        address: u64,
        /// BUSY, DONE and ERROR.
        status: u8,
        /// The page to copy to while BUSY, else 0.
        page: u8,
        /// The IOVA to copy from while BUSY, else 0.
        from: u64,
    }
}

impl Record for Registers {
    fn check(&self) -> Result<(), &'static str> {
        let is_known = self.status & !(BUSY | DONE | ERROR) == 0;
        require(is_known, "an unknown status")?;
        let is_requested = self.status & BUSY != 0 || (self.page, self.from) == (0, 0);
        require(is_requested, "a copy that nobody has requested")?;
        let is_within = usize::from(self.page) < PAGES;
        require(is_within, "a copy to a page that the card has not")
    }
}

/// The registers, all of them in BAR 0.
const REGISTER_MAP: &[Register<Registers>] = mdev_sdk::model::registers! { Registers {
    0x00: u8, write Registers::ring, if |registers| registers.status & BUSY == 0;
    0x04: u8, read |registers| registers.status;
    0x08: u8, write |registers, _| registers.status &= BUSY;
    0x10: u64, keep address;
} };

impl Registers {
    /// Requests a copy to a page, if the card has it.
    fn ring(&mut self, page: u8) {
        if usize::from(page) < PAGES {
            self.status |= BUSY;
            (self.page, self.from) = (page, self.address);
        }
    }
}

/// The card, and its work: the copy.
#[pin_data]
struct Card {
    memory: Arc<DeviceMemory>,
    #[pin]
    registers: Mutex<Registers>,
}

impl Card {
    fn copy(&self, cx: &Context, from: u64, page: u8) -> Result {
        let mut data = KVec::from_elem(0, PAGE, GFP_KERNEL)?;
        cx.memory().read(from, &mut data)?;
        self.memory.write(usize::from(page) * PAGE, &data)
    }
}

/// Sets the interrupt's level from the registers, whose lock must be held.
fn update_interrupt(cx: &Context, registers: &Registers) {
    cx.set_interrupt(registers.status & (DONE | ERROR) != 0);
}

impl Task for Card {
    fn step(&self, cx: &Context) -> Step {
        let Registers {
            status, page, from, ..
        } = *self.registers.lock();
        if status & BUSY == 0 {
            return Step::Idle;
        }
        // Without the lock, because this may wait for user space.
        let copied = self.copy(cx, from, page);
        let mut registers = self.registers.lock();
        registers.status &= !BUSY;
        registers.status |= if copied.is_ok() { DONE } else { ERROR };
        (registers.page, registers.from) = (0, 0);
        update_interrupt(cx, &registers);
        Step::Idle
    }
}

/// An open card.
struct OpenScratch {
    card: Engine<Card>,
}

impl OpenScratch {
    fn new(cx: Arc<Context>) -> Result<Self> {
        let card = try_pin_init!(Card {
            memory: DeviceMemory::new(PAGES * PAGE)?,
            registers <- new_mutex!(Registers::ZERO, "scratch_registers"),
        } ? Error);
        Ok(OpenScratch {
            card: Engine::new(cx, card)?,
        })
    }
}

#[vtable]
impl Driver for Scratch {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"scratch";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Scratch card",
        description: c"64 KiB of memory and a doorbell that fills it",
        identity: Identity {
            bars: BARS,
            ..Identity::new(0x5343, 0x5254)
        },
        kind: name("scratch-1"),
        geometry: [(PAGES * PAGE) as u64, 0],
        codec: Codec::Records,
    }];
    type Parent = Budget;
    type Open = OpenScratch;

    fn available(cards: &Budget, _type_index: usize) -> u32 {
        cards.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Scratch {
            _card: new.parent.take(1)?,
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenScratch, Error> {
        OpenScratch::new(cx)
    }
}

#[vtable]
impl Operations for OpenScratch {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        registers::read(REGISTER_MAP, &*self.card.registers.lock(), offset, data);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut registers = self.card.registers.lock();
        registers::write(REGISTER_MAP, &mut *registers, offset, data);
        update_interrupt(cx, &registers);
        if registers.status & BUSY != 0 {
            self.card.kick();
        }
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        parts.memory(MEMORY_BAR, 0, &self.card.memory)
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut registers = self.card.registers.lock();
        self.card.memory.clear();
        *registers = Registers::ZERO;
        update_interrupt(cx, &registers);
        Ok(())
    }
}

/// [`Registers`].
const REGISTERS: Tag = Tag(Tag::FIRST_DRIVER.0);
/// A page's number in the memory, then its bytes. A page without a record is zero.
const MEMORY: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);

struct Saving {
    /// The offset in the memory at which to continue.
    at: usize,
    /// Whether this is the first pass, which sends the initial data.
    is_first: bool,
}

struct Arrived {
    registers: Option<Registers>,
    memory: StagedMemory,
}

#[vtable]
impl Migrate for OpenScratch {
    const FORMAT: Format = Format {
        name: name("scratch"),
        version: 1,
        oldest: 1,
        readable_by: 1,
    };
    const RECORDS: &'static [(Tag, usize)] = &[(REGISTERS, Registers::LEN), (MEMORY, 1 + PAGE)];
    type Saving = Saving;
    type Loading = Arrived;

    fn start_saving(&self) -> Result<Saving> {
        self.card.memory.start_tracking();
        Ok(Saving {
            at: 0,
            is_first: true,
        })
    }

    fn pending(&self, saving: Option<&Saving>) -> Pending {
        let memory = &self.card.memory;
        let records = |bytes: u64| bytes / PAGE as u64 * (HEADER_LEN + 1 + PAGE) as u64;
        let left = records(saving.map_or(memory.used_bytes(), |_| memory.dirty_bytes(0)));
        let initial = match saving {
            None => left,
            // Dirty pages before `at` were sent and then written again: not initial any more.
            Some(saving) if saving.is_first => records(memory.dirty_bytes(saving.at)),
            Some(_) => 0,
        };
        Pending {
            initial,
            dirty: left.saturating_sub(initial),
            stop_copy: left + (HEADER_LEN + Registers::LEN) as u64,
        }
    }

    fn save(
        &self,
        saving: &mut Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress> {
        // PRE_COPY: one pass, because the guest may go on writing. STOP_COPY: all dirty pages.
        let from = match phase {
            Phase::StopCopy => 0,
            Phase::PreCopy => saving.at,
        };
        if let Some(run) = self.card.memory.take_dirty(from, PAGE) {
            saving.at = run.end;
            // A page of the host may hold several pages of the records.
            for start in run.step_by(PAGE) {
                let (number, bytes) = ((start / PAGE) as u8, start..start + PAGE);
                out.memory_record(MEMORY, &[number], &self.card.memory, bytes)?;
            }
            return Ok(Progress::More);
        }
        *saving = Saving {
            at: 0,
            is_first: false,
        };
        if phase == Phase::StopCopy {
            let registers = *self.card.registers.lock();
            out.record(REGISTERS, &registers.encode())?;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        Ok(Arrived {
            registers: None,
            memory: StagedMemory::new(&self.card.memory)?,
        })
    }

    fn load(&self, arrived: &mut Arrived, tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        if tag == REGISTERS {
            arrived.registers = Some(Registers::decode(payload)?);
            return Ok(());
        }
        let (page, bytes) = payload.split_first().ok_or("an empty record")?;
        require(bytes.len() == PAGE, "a part of a page")?;
        arrived.memory.write(usize::from(*page) * PAGE, bytes)
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        let whole = arrived.registers.is_some();
        Ok(require(whole, "the registers are missing")?)
    }

    fn commit(&self, cx: &Context, arrived: Arrived) {
        arrived.memory.commit();
        if let Some(registers) = arrived.registers {
            *self.card.registers.lock() = registers;
            update_interrupt(cx, &registers);
        }
    }
}
