// SPDX-License-Identifier: GPL-2.0

//! A card whose registers are the calls of the SDK's `GuestMemory` and `DeviceMemory`. A test can
//! make each call with any arguments, and its write fails with the call's error. The registers are
//! in `memory_registers.rs`.

#![forbid(unsafe_code)]

#[macro_use]
mod no_migration;
mod memory_array;
mod memory_device;
pub mod memory_registers;

use kernel::page::PAGE_SIZE;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{Arc, Completion, Mutex};
use kernel::time::{delay::fsleep, Delta};
use kernel::{new_mutex, prelude::*};
use mdev_sdk::model::{
    config::{Bar, Identity},
    stream::name,
};
use mdev_sdk::{
    Codec, Context, DeviceMemory, Dma, Driver, Engine, GuestArray, NewDevice, Operations, Parts,
    Pinned, Read, Step, Task, Type, Write,
};
use memory_array::Entry;
use memory_registers::*;

mdev_sdk::module_mdev_driver! {
    driver: MemoryRs,
    parent: c"memory_rs",
    parent_driver: c"memory_rs",
    parent_data: (),
    name: "memory_rs",
    authors: ["The mdev SDK authors"],
    description: "Calls the mdev SDK's GuestMemory and DeviceMemory, for tests",
    license: "GPL",
}

/// The number of available instances in sysfs; there is no limit.
const CARDS: u32 = 16;

/// What a channel keeps.
enum Kept {
    Nothing,
    Read(Pinned<Read>),
    Write(Pinned<Write>),
    Dma(Pinned<Dma>),
    Array(GuestArray<Entry>),
    ReadArray(GuestArray<Entry, Read>),
    Many(#[expect(dead_code, reason = "kept to be dropped")] KVVec<Pinned<Dma>>),
    Engine(#[expect(dead_code, reason = "kept to be dropped")] Engine<Reader>),
}

/// Reads a byte of guest memory twice, in one step.
struct Reader(u64);

impl Task for Reader {
    fn step(&self, cx: &Context) -> Step {
        for _ in 0..2 {
            // Only the wait for the memory matters.
            let _ = cx.memory().read(self.0, &mut [0]);
        }
        Step::Idle
    }
}

#[derive(Clone, Copy, Default)]
struct Arguments {
    iova: u64,
    length: usize,
    offset: usize,
}

struct Registers {
    arguments: Arguments,
    walked: u32,
    buffer: KVec<u8>,
}

#[pin_data]
struct Channel {
    cx: Arc<Context>,
    #[pin]
    registers: Mutex<Registers>,
    #[pin]
    kept: Mutex<Kept>,
}

impl Channel {
    fn new(cx: &Arc<Context>) -> Result<Arc<Self>> {
        let cx = cx.clone();
        let buffer = KVec::from_elem(0, (CHANNEL - BUFFER) as usize, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                cx,
                registers <- new_mutex!(Registers {
                    arguments: Arguments::default(),
                    walked: 0,
                    buffer,
                }, "memory_registers"),
                kept <- new_mutex!(Kept::Nothing, "memory_kept"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns a copy of the buffer for a call, which may wait for user space and so runs without a
    /// lock.
    fn bytes(&self, length: usize) -> Result<KVec<u8>> {
        let mut bytes = KVec::new();
        let registers = self.registers.lock();
        let some = registers.buffer.get(..length).ok_or(E2BIG)?;
        bytes.extend_from_slice(some, GFP_KERNEL)?;
        Ok(bytes)
    }

    fn keep(&self, new: Kept) {
        let old = core::mem::replace(&mut *self.kept.lock(), new);
        // The lock is free again when the old range is unpinned.
        drop(old);
    }

    fn call(&self, cx: &Context, mdev: &Arc<Mdev>, call: u32) -> Result {
        let Arguments {
            iova,
            length,
            offset,
        } = self.registers.lock().arguments;
        let memory = cx.memory();
        match call {
            READ => {
                let mut bytes = self.bytes(length)?;
                memory.read(iova, &mut bytes)?;
                self.registers.lock().buffer[..length].copy_from_slice(&bytes);
            }
            WRITE => memory.write(iova, &self.bytes(length)?)?,
            PIN_READ => self.keep(Kept::Read(memory.pin_read(iova, length)?)),
            PIN_WRITE => self.keep(Kept::Write(memory.pin_write(iova, length)?)),
            PIN_DMA | PIN_DMA_READ => {
                let mdev = mdev.clone();
                let stop = move || {
                    mdev.stops.fetch_add(1, Relaxed);
                    if offset != 0 {
                        fsleep(Delta::from_millis(offset as i64));
                    }
                };
                let guard = match call {
                    PIN_DMA => memory.pin_dma(iova, length, stop)?,
                    _ => memory.pin_dma_read(iova, length, stop)?,
                };
                self.keep(Kept::Dma(guard));
            }
            UNPIN => self.keep(Kept::Nothing),
            KEPT_READ => {
                let mut bytes = self.bytes(length)?;
                match &*self.kept.lock() {
                    Kept::Read(range) => range.read(offset, &mut bytes)?,
                    Kept::Write(range) => range.read(offset, &mut bytes)?,
                    Kept::Dma(range) => range.read(offset, &mut bytes)?,
                    _ => return Err(ENOENT),
                }
                self.registers.lock().buffer[..length].copy_from_slice(&bytes);
            }
            KEPT_WRITE => {
                let bytes = self.bytes(length)?;
                let Kept::Write(range) = &*self.kept.lock() else {
                    return Err(ENOENT);
                };
                range.write(offset, &bytes)?;
            }
            KEPT_WALK => {
                let mut pages = 0;
                let Kept::Dma(range) = &*self.kept.lock() else {
                    return Err(ENOENT);
                };
                range.for_each_page(|_page| {
                    pages += 1;
                    Ok(())
                })?;
                self.registers.lock().walked = pages;
            }
            KEPT_START => {
                let Kept::Dma(range) = &*self.kept.lock() else {
                    return Err(ENOENT);
                };
                range.start(|| ())?;
                if range.for_each_segment(|_, _| Ok(())) != Err(ENODEV) {
                    return Err(ENXIO);
                }
            }
            PIN_MANY => {
                let mut guards = KVVec::new();
                for _ in 0..offset {
                    let mdev = mdev.clone();
                    let stop = move || {
                        mdev.stops.fetch_add(1, Relaxed);
                    };
                    guards.push(memory.pin_dma(iova, length, stop)?, GFP_KERNEL)?;
                }
                self.registers.lock().walked = guards.len() as u32;
                self.keep(Kept::Many(guards));
            }
            ENGINE => {
                let engine = Engine::new(self.cx.clone(), Reader(iova))?;
                engine.kick();
                self.keep(Kept::Engine(engine));
            }
            PIN_OFTEN => {
                let pinned = (0..offset).filter(|_| memory.pin_write(iova, length).is_ok());
                let pinned = pinned.count() as u32;
                self.registers.lock().walked = pinned;
            }
            ARRAY.. => self.call_array(cx, call)?,
            _ => self.call_device(&mdev.memories[0], call)?,
        }
        Ok(())
    }
}

/// The data of a card from `create` to `remove`.
struct Mdev {
    /// The number of calls to stop the hardware.
    stops: Atomic<u32>,
    /// See the register AT_OPEN.
    at_open: Atomic<u64>,
    /// See the register ONE_MEMORY.
    one_memory: Atomic<u32>,
    /// Those of BARs 1 and 2.
    memories: [Arc<DeviceMemory>; 2],
}

struct Card {
    channels: [Arc<Channel>; CHANNELS],
    mdev: Arc<Mdev>,
    /// Whether BAR 2 has the memory of BAR 1.
    one_memory: bool,
}

impl Card {
    fn new(mdev: Arc<Mdev>, cx: Arc<Context>) -> Result<Self> {
        for memory in &mdev.memories {
            memory.clear();
        }
        let one_memory = mdev.one_memory.xchg(0, Relaxed) != 0;
        let iova = mdev.at_open.xchg(0, Relaxed);
        if iova != 0 {
            let gone = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let told = (mdev.clone(), gone.clone());
            let stop = move || {
                told.0.stops.fetch_add(1, Relaxed);
                told.1.complete_all();
            };
            let _page = cx.memory().pin_dma(iova, PAGE_SIZE, stop)?;
            gone.wait_for_completion();
        }
        Ok(Card {
            channels: [
                Channel::new(&cx)?,
                Channel::new(&cx)?,
                Channel::new(&cx)?,
                Channel::new(&cx)?,
            ],
            mdev,
            one_memory,
        })
    }

    fn channel(&self, offset: u64) -> (&Channel, u64) {
        (
            &self.channels[(offset / CHANNEL) as usize],
            offset % CHANNEL,
        )
    }
}

const BARS: [Bar; 6] = {
    let mut bars = [Bar::None; 6];
    bars[0] = Bar::memory32(CHANNEL as u32 * CHANNELS as u32);
    bars[1] = Bar::Memory32 {
        size: DEVICE_SIZE as u32,
        prefetchable: true,
    };
    bars[2] = bars[1];
    bars
};

/// The card from `create` to `remove`.
struct MemoryRs(Arc<Mdev>);

#[vtable]
impl Driver for MemoryRs {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"memory_rs";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Calls GuestMemory and DeviceMemory",
        description: c"Card of a test",
        identity: Identity {
            intx: false,
            msi: 0,
            bars: BARS,
            needs_bus_master: false,
            ..Identity::new(0x4d45, 0x4d52)
        },
        kind: name("memory_rs-1"),
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    type Parent = ();
    type Open = Card;

    fn available(_parent: &(), _type_index: usize) -> u32 {
        CARDS
    }

    fn create(_new: &NewDevice<'_, Self>) -> Result<Self> {
        let new = Mdev {
            stops: Atomic::new(0),
            at_open: Atomic::new(0),
            one_memory: Atomic::new(0),
            memories: [
                DeviceMemory::new(DEVICE_SIZE)?,
                DeviceMemory::new(DEVICE_SIZE)?,
            ],
        };
        Ok(MemoryRs(Arc::new(new, GFP_KERNEL)?))
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<Card, Error> {
        Card::new(self.0.clone(), cx)
    }
}

#[vtable]
impl Operations for Card {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let (channel, offset) = self.channel(offset);
        let registers = channel.registers.lock();
        let value = match offset {
            STOPS => self.mdev.stops.load(Relaxed),
            WALKED => registers.walked,
            BUFFER.. => {
                let at = (offset - BUFFER) as usize;
                data.copy_from_slice(&registers.buffer[at..][..data.len()]);
                return Ok(());
            }
            _ => 0,
        };
        let value = value.to_le_bytes();
        let some = data.len().min(value.len());
        data[..some].copy_from_slice(&value[..some]);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let (channel, offset) = self.channel(offset);
        if offset >= BUFFER {
            let at = (offset - BUFFER) as usize;
            channel.registers.lock().buffer[at..][..data.len()].copy_from_slice(data);
            return Ok(());
        }
        let wide = || Ok::<_, Error>(u64::from_le_bytes(data.try_into().map_err(|_| EINVAL)?));
        let narrow = || Ok::<_, Error>(u32::from_le_bytes(data.try_into().map_err(|_| EINVAL)?));
        match offset {
            IOVA => channel.registers.lock().arguments.iova = wide()?,
            LENGTH => channel.registers.lock().arguments.length = wide()? as usize,
            AT_OPEN => self.mdev.at_open.store(wide()?, Relaxed),
            ONE_MEMORY => self.mdev.one_memory.store(narrow()?, Relaxed),
            OFFSET => channel.registers.lock().arguments.offset = wide()? as usize,
            CALL => return channel.call(cx, &self.mdev, narrow()?),
            _ => return Err(ENOTSUPP),
        }
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        let [first, second] = &self.mdev.memories;
        parts.memory(1, 0, first)?;
        parts.memory(2, 0, if self.one_memory { first } else { second })
    }

    fn reset(&self, _cx: &Context) -> Result {
        for channel in &self.channels {
            channel.keep(Kept::Nothing);
        }
        Ok(())
    }
}

does_not_migrate!(Card, "memory_rs");
