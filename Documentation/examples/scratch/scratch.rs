// SPDX-License-Identifier: GPL-2.0

//! A scratch card, the example of Documentation/vendor-guide.md: 64 KiB of memory that a guest
//! maps, and a doorbell that makes the card copy a page of guest memory into it.
//!
//! | BAR | offset | register | |
//! |---|---:|---|---|
//! | 0 | 0x00 | DOORBELL | write n: copy the page at ADDRESS to page n of BAR 1; ignored while BUSY |
//! | 0 | 0x04 | STATUS | BUSY 1, DONE 2, ERROR 4; DONE and ERROR assert the interrupt |
//! | 0 | 0x08 | INTERRUPT_CLEAR | write anything: DONE and ERROR become 0 |
//! | 0 | 0x10 | ADDRESS | 64 bits; write all 8 bytes at once |
//! | 1 | | the memory | |

#![forbid(unsafe_code)]

use kernel::sync::{lock::mutex::MutexGuard, Arc, Mutex};
use kernel::{new_mutex, page::PAGE_SIZE, prelude::*};
use mdev_sdk::model::config::{Bar, Identity};
use mdev_sdk::model::stream::{name, Format, LoadError, Name, Tag, HEADER_LEN};
use mdev_sdk::{
    Budget, Context, DeviceMemory, Driver, Migrate, NewDevice, Operations, Pending, Phase,
};
use mdev_sdk::{Progress, RecordWriter, Share, Task, Type, WaitQueue, Worker};

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
const DOORBELL: u64 = 0x00;
const INTERRUPT_CLEAR: u64 = 0x08;
const ADDRESS: u64 = 0x10;
const BUSY: u8 = 1;
const DONE: u8 = 2;
const ERROR: u8 = 4;

/// Decodes a little-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |high, low| high << 8 | u64::from(*low))
}

/// A card from `create` to `remove`.
struct Scratch {
    _card: Share,
}

#[derive(Clone, Copy, Default)]
struct Registers {
    // The next two migrate.
    address: u64,
    /// DONE and ERROR.
    events: u8,
    // The next two do not: a stopped card has no job.
    /// The IOVA to copy from and the page to copy to, from the doorbell to the end of the copy.
    job: Option<(u64, usize)>,
    stopped: bool,
}

/// What the callbacks and the worker share.
#[pin_data]
struct Card {
    cx: Arc<Context>,
    memory: Arc<DeviceMemory>,
    #[pin]
    registers: Mutex<Registers>,
    #[pin]
    idle: WaitQueue,
}

impl Card {
    /// Stops the card and waits for the end of a copy. None begins while `stopped` is true.
    fn stop(&self) -> Result<MutexGuard<'_, Registers>> {
        self.registers.lock().stopped = true;
        self.idle
            .wait_killable(|| self.registers.lock().job.is_none())?;
        Ok(self.registers.lock())
    }

    fn copy(&self, from: u64, page: usize) -> Result {
        let mut data = KVec::from_elem(0, PAGE, GFP_KERNEL)?;
        self.cx.memory().read(from, &mut data)?;
        self.memory.write(page * PAGE, &data)
    }
}

struct Copier(Arc<Card>);

impl Task for Copier {
    fn step(&self) -> Progress {
        let card = &self.0;
        let job = card.registers.lock().job;
        let Some((from, page)) = job else {
            return Progress::Done;
        };
        // Without the lock, because this may wait for user space.
        let copied = card.copy(from, page);
        let mut registers = card.registers.lock();
        registers.job = None;
        registers.events |= if copied.is_ok() { DONE } else { ERROR };
        card.cx.set_interrupt(true);
        card.idle.wake_all();
        Progress::Done
    }
}

/// An open card. The worker is the first field, so that it ends before the rest is dropped.
struct OpenScratch {
    worker: Worker<Copier>,
    card: Arc<Card>,
}

impl OpenScratch {
    fn new(cx: Arc<Context>) -> Result<Self> {
        let memory = DeviceMemory::new(PAGES * PAGE)?;
        let card = pin_init!(Card {
            cx,
            memory,
            registers <- new_mutex!(Registers::default(), "scratch_registers"),
            idle <- WaitQueue::new(),
        });
        let card = Arc::pin_init(card, GFP_KERNEL)?;
        let worker = Worker::new(&card.cx, Copier(card.clone()))?;
        Ok(OpenScratch { worker, card })
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

    fn identity(&self) -> Identity {
        let memory = |size: usize, prefetchable| Bar::Memory32 {
            size: size as u32,
            prefetchable,
        };
        let mut bars = [Bar::None; 6];
        bars[0] = memory(REGISTERS_SIZE, false);
        bars[MEMORY_BAR] = memory(PAGES * PAGE, true);
        Identity {
            vendor: 0x5343,
            device: 0x5254,
            subsystem_vendor: 0x5343,
            subsystem: 0x5254,
            class: 0xff_00_00,
            revision: 0,
            intx: true,
            msi: true,
            msix: None,
            bars,
        }
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenScratch, Error> {
        OpenScratch::new(cx)
    }
}

#[vtable]
impl Operations for OpenScratch {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let registers = self.card.registers.lock();
        let mut bytes = [0; REGISTERS_SIZE];
        bytes[0x04] = registers.events | if registers.job.is_some() { BUSY } else { 0 };
        bytes[0x10..0x18].copy_from_slice(&registers.address.to_le_bytes());
        data.copy_from_slice(&bytes[offset as usize..][..data.len()]);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut registers = self.card.registers.lock();
        match offset {
            DOORBELL if registers.stopped => return Err(EBUSY),
            DOORBELL if registers.job.is_none() && usize::from(data[0]) < PAGES => {
                registers.job = Some((registers.address, data[0].into()));
                self.worker.kick();
            }
            INTERRUPT_CLEAR => registers.events = 0,
            ADDRESS if data.len() == 8 => registers.address = number(data),
            _ => {}
        }
        cx.set_interrupt(registers.events != 0);
        Ok(())
    }

    fn memory(&self, bar: usize) -> Option<&Arc<DeviceMemory>> {
        (bar == MEMORY_BAR).then_some(&self.card.memory)
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut registers = self.card.stop()?;
        if let Err(e) = self.card.memory.clear() {
            dev_err!(cx.device(), "scratch: memory not cleared: {e:?}\n");
        }
        *registers = Registers::default();
        cx.set_interrupt(false);
        Ok(())
    }
}

/// Events, then ADDRESS.
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
    memory: Arc<DeviceMemory>,
    /// For `commit`, which must not allocate.
    buffer: KVec<u8>,
}

#[vtable]
impl Migrate for OpenScratch {
    const FORMAT: Format = Format {
        name: name("scratch"),
        version: 1,
        oldest: 1,
        readable_by: 1,
    };
    const RECORDS: &'static [(Tag, usize)] = &[(REGISTERS, 1 + 8), (MEMORY, 1 + PAGE)];
    type Saving = Saving;
    type Loading = Arrived;

    fn kind(&self) -> Name {
        name("scratch-1")
    }

    fn geometry(&self) -> [u64; 2] {
        [self.card.memory.size() as u64, 0]
    }

    fn quiesce(&self, _cx: &Context) -> Result {
        let go_on = || self.card.registers.lock().stopped = false;
        self.card.stop().map(drop).inspect_err(|_| go_on())
    }

    fn resume(&self, _cx: &Context) {
        self.card.registers.lock().stopped = false;
    }

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
            stop_copy: left + (HEADER_LEN + 1 + 8) as u64,
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
            let registers = self.card.registers.lock();
            let mut payload = [registers.events; 1 + 8];
            payload[1..].copy_from_slice(&registers.address.to_le_bytes());
            out.record(REGISTERS, &payload)?;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        Ok(Arrived {
            registers: None,
            memory: DeviceMemory::new(PAGES * PAGE)?,
            buffer: KVec::from_elem(0, PAGE_SIZE, GFP_KERNEL)?,
        })
    }

    fn load(&self, arrived: &mut Arrived, tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        let bad = LoadError::BadState;
        let (first, rest) = payload.split_first().ok_or(bad("an empty record"))?;
        if tag == MEMORY && rest.len() == PAGE {
            let written = arrived.memory.write(usize::from(*first) * PAGE, rest);
            return written.map_err(|_| bad("a page that the card has not"));
        }
        if tag != REGISTERS || rest.len() != 8 || first & !(DONE | ERROR) != 0 {
            return Err(bad("a record that no card writes"));
        }
        arrived.registers = Some(Registers {
            address: number(rest),
            events: *first,
            job: None,
            stopped: true,
        });
        Ok(())
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        let missing = LoadError::BadState("the registers are missing");
        arrived.registers.map(|_| ()).ok_or(missing)
    }

    fn commit(&self, cx: &Context, mut arrived: Arrived) {
        let memory = &self.card.memory;
        if let Err(e) = memory.copy_from(&arrived.memory, &mut arrived.buffer) {
            dev_err!(cx.device(), "scratch: memory not taken over: {e:?}\n");
        }
        if let Some(registers) = arrived.registers {
            *self.card.registers.lock() = registers;
            cx.set_interrupt(registers.events != 0);
        }
    }
}
