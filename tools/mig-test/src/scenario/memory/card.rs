// SPDX-License-Identifier: GPL-2.0
//! The card of `memory_rs`, with a method for each call of the SDK's `GuestMemory`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;

use crate::mdev::{Mdev, MdevType};
use crate::scenario::bed::load;
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::Mapping;

// A file of the test modules, which Kbuild compiles and cargo does not.
#[path = "../../../kmod/memory_registers.rs"]
pub mod register;

pub use register::CHANNELS;

/// The IOVA of guest memory.
pub const IOVA: u64 = 0x1_0000_0000;
/// Its pages in the tests: more than the kernel pins in one call, twice.
pub const PAGES: usize = 1200;
/// The IOVA of memory that a device may only read, and the number of its pages.
pub const READ_ONLY: u64 = 0x2_0000_0000;
pub const READ_ONLY_PAGES: usize = 16;

/// IOVA of a byte of guest memory.
pub fn iova(offset: usize) -> u64 {
    IOVA + offset as u64
}

/// The kind of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pin_read`.
    Read,
    /// `pin_write`.
    Write,
    /// `pin_dma`.
    Dma,
    /// `pin_dma_read`.
    DmaRead,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Dma, Kind::DmaRead];

    /// Returns whether it is for hardware.
    pub fn is_for_hardware(self) -> bool {
        matches!(self, Kind::Dma | Kind::DmaRead)
    }

    fn call(self) -> u32 {
        match self {
            Kind::Read => register::PIN_READ,
            Kind::Write => register::PIN_WRITE,
            Kind::Dma => register::PIN_DMA,
            Kind::DmaRead => register::PIN_DMA_READ,
        }
    }
}

/// An open card that can reach guest memory. Removed when dropped, device first.
pub struct Card {
    /// The device.
    pub device: Device,
    /// Memory of the guest, at [`IOVA`].
    pub guest: Arc<Mapping>,
    /// Memory that is only read: at [`READ_ONLY`].
    pub read_only: Arc<Mapping>,
    mdev: Mdev,
}

impl Card {
    /// Loads the driver, makes a card, and maps so many pages of guest memory, which hold a
    /// pattern.
    pub fn new(open: fn(&Path) -> Result<Device>, pages: usize) -> Result<Card> {
        load("vfio_iommu_type1")?;
        load("memory_rs")?;
        let mdev = MdevType::find("memory_rs", "memory_rs-1")?.create()?;
        let device = open(mdev.path())?;
        let card = Card {
            device,
            guest: Arc::new(Mapping::anonymous(pages * PAGE)?),
            read_only: Arc::new(Mapping::anonymous(READ_ONLY_PAGES * PAGE)?),
            mdev,
        };
        card.guest.write(0, &pattern(pages * PAGE));
        card.read_only.write(0, &pattern(READ_ONLY_PAGES * PAGE));
        card.map(0, pages)?;
        card.device.space.map_dma(Dma {
            iova: READ_ONLY,
            memory: &card.read_only,
            offset: 0,
            len: READ_ONLY_PAGES * PAGE,
            access: Access::Read,
        })?;
        Ok(card)
    }

    /// A card in the container of this one, which finds the same memory.
    pub fn beside(&self) -> Result<Card> {
        let mdev = MdevType::find("memory_rs", "memory_rs-1")?.create()?;
        Ok(Card {
            device: self.device.open_beside(mdev.path())?,
            guest: self.guest.clone(),
            read_only: self.read_only.clone(),
            mdev,
        })
    }

    /// Maps pages of guest memory.
    pub fn map(&self, first: usize, pages: usize) -> Result<()> {
        Ok(self.device.space.map_dma(Dma {
            iova: iova(first * PAGE),
            memory: &self.guest,
            offset: first * PAGE,
            len: pages * PAGE,
            access: Access::ReadWrite,
        })?)
    }

    /// Unmaps pages of guest memory.
    pub fn unmap(&self, first: usize, pages: usize) -> Result<u64> {
        let (first, len) = (iova(first * PAGE), pages * PAGE);
        Ok(self.device.space.unmap_dma(first, len)?)
    }

    /// What is in guest memory.
    pub fn contents(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.guest.read(offset, &mut bytes);
        bytes
    }

    /// The UUID of its mdev.
    pub fn mdev(&self) -> &str {
        &self.mdev.uuid
    }

    /// One of the card's channels.
    pub fn channel(&self, number: usize) -> Channel<'_> {
        Channel::of(&self.device, number)
    }

    /// Returns the number of calls to stop hardware since the card was made.
    pub fn stops(&self) -> Result<u32> {
        Ok(self.channel(0).get(register::STOPS)?)
    }

    /// Makes the next open of the device pin a page, and continue after its revocation.
    pub fn pin_at_open(&self, iova: u64) -> Result<(), Errno> {
        self.channel(0).set(register::AT_OPEN, &iova.to_le_bytes())
    }

    /// Closes the device and opens it again, first with one memory behind two BARs, which must
    /// fail, and then normally.
    pub fn reopen_with_one_memory(self) -> Result<(Result<(), Errno>, Card)> {
        let one = 1u32.to_le_bytes();
        self.channel(0).set(register::ONE_MEMORY, &one)?;
        let group = self.device.close()?;
        let answer = group.open_device().map(drop);
        let device = Device::of(group)?;
        Ok((answer, Card { device, ..self }))
    }

    /// Closes the device and opens it again, with no memory mapped.
    pub fn reopen(self) -> Result<Card> {
        Ok(Card {
            device: self.device.reopen()?,
            ..self
        })
    }
}

/// Bytes that differ from page to page and from their neighbours.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / PAGE * 7 + at * 3) as u8).collect()
}

/// Arguments, a buffer and a guard.
#[derive(Clone, Copy)]
pub struct Channel<'a> {
    device: &'a Device,
    base: u64,
}

impl<'a> Channel<'a> {
    /// A channel of a card of `memory_rs`.
    pub fn of(device: &'a Device, number: usize) -> Channel<'a> {
        Channel {
            device,
            base: register::CHANNEL * number as u64,
        }
    }

    /// `GuestMemory::read`.
    pub fn read(&self, iova: u64, len: usize) -> Result<Vec<u8>, Errno> {
        self.call(register::READ, iova, len, 0)?;
        self.take(len)
    }

    /// `GuestMemory::write`.
    pub fn write(&self, iova: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.put(bytes)?;
        self.call(register::WRITE, iova, bytes.len(), 0)
    }

    /// Pins a range, and keeps the guard in the place of the one before.
    pub fn pin(&self, kind: Kind, iova: u64, len: usize) -> Result<(), Errno> {
        self.call(kind.call(), iova, len, 0)
    }

    /// Pins a range for hardware that is not stopped at once.
    pub fn pin_slow(&self, iova: u64, len: usize, stop: Duration) -> Result<(), Errno> {
        self.call(register::PIN_DMA, iova, len, stop.as_millis() as usize)
    }

    /// Drops the guard.
    pub fn unpin(&self) -> Result<(), Errno> {
        self.call(register::UNPIN, 0, 0, 0)
    }

    /// `Pinned::read`.
    pub fn kept_read(&self, offset: usize, len: usize) -> Result<Vec<u8>, Errno> {
        self.call(register::KEPT_READ, 0, len, offset)?;
        self.take(len)
    }

    /// `Pinned::write`.
    pub fn kept_write(&self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.put(bytes)?;
        self.call(register::KEPT_WRITE, 0, bytes.len(), offset)
    }

    /// How many pages `Pinned::for_each_page` comes by.
    pub fn kept_walk(&self) -> Result<u32, Errno> {
        self.call(register::KEPT_WALK, 0, 0, 0)?;
        self.get(register::WALKED)
    }

    /// `Pinned::start`.
    pub fn kept_start(&self) -> Result<(), Errno> {
        self.call(register::KEPT_START, 0, 0, 0)
    }

    /// Keeps an array of entries, to read and write them, or only to read.
    pub fn array(&self, kind: Kind, iova: u64, len: usize) -> Result<(), Errno> {
        let call = match kind {
            Kind::Read => register::ARRAY_READ_ONLY,
            _ => register::ARRAY,
        };
        self.call(call, iova, len, 0)
    }

    /// `GuestArray::read`.
    pub fn entry(&self, index: usize) -> Result<Vec<u8>, Errno> {
        self.call(register::ENTRY_READ, 0, 0, index)?;
        self.take(register::ENTRY_LEN)
    }

    /// `GuestArray::write`.
    pub fn set_entry(&self, index: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.put(bytes)?;
        self.call(register::ENTRY_WRITE, 0, 0, index)
    }

    /// `GuestArray::read_field` of the status.
    pub fn status(&self, index: usize) -> Result<u32, Errno> {
        self.call(register::STATUS_READ, 0, 0, index)?;
        self.get(register::WALKED)
    }

    /// `GuestArray::write_field` of the status.
    pub fn set_status(&self, index: usize, status: u16) -> Result<(), Errno> {
        self.call(register::STATUS_WRITE, 0, status.into(), index)
    }

    /// `GuestArray::release`.
    pub fn release_array(&self) -> Result<(), Errno> {
        self.call(register::ARRAY_RELEASE, 0, 0, 0)
    }

    /// Has an engine of its own read a byte of guest memory; `unpin` drops it.
    pub fn start_engine(&self, iova: u64) -> Result<(), Errno> {
        self.call(register::ENGINE, iova, 0, 0)
    }

    /// Pins and unpins a range so many times, in one call; returns how often it could be pinned.
    pub fn pin_often(&self, iova: u64, len: usize, times: usize) -> Result<u32, Errno> {
        self.call(register::PIN_OFTEN, iova, len, times)?;
        self.get(register::WALKED)
    }

    /// Makes any call; the arguments are the registers'.
    pub fn call(&self, call: u32, iova: u64, len: usize, offset: usize) -> Result<(), Errno> {
        self.set(register::IOVA, &iova.to_le_bytes())?;
        self.set(register::LENGTH, &(len as u64).to_le_bytes())?;
        self.set(register::OFFSET, &(offset as u64).to_le_bytes())?;
        self.set(register::CALL, &call.to_le_bytes())
    }

    /// Fills the first bytes of the buffer.
    pub fn put(&self, bytes: &[u8]) -> Result<(), Errno> {
        match bytes {
            [] => Ok(()),
            _ => self.set(register::BUFFER, bytes),
        }
    }

    /// The first bytes of the buffer.
    pub fn take(&self, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len];
        let count = self.device.read(self.base + register::BUFFER, &mut bytes)?;
        (count == len).then_some(bytes).ok_or(Errno::IO)
    }

    /// Reads a register of 32 bits.
    pub fn get(&self, register: u64) -> Result<u32, Errno> {
        self.device.read_u32(self.base + register)
    }

    fn set(&self, register: u64, bytes: &[u8]) -> Result<(), Errno> {
        let count = self.device.write(self.base + register, bytes)?;
        (count == bytes.len()).then_some(()).ok_or(Errno::IO)
    }
}
