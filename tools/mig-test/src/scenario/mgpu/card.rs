// SPDX-License-Identifier: GPL-2.0
//! A card of mgpu_rs as used by a guest's driver: registers, VRAM, guest memory and a ring in it.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use mgpu_model::uapi::{control, reg, status, BAR_VRAM, COMMAND_LEN};

use crate::mdev::{Mdev, MdevType};
use crate::patience;
use crate::scenario::bed::load;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma};
use crate::vfio::Mapping;
pub use mig_common::command::Command;

/// The module, and its parent device.
pub const MODULE: &str = "mgpu_rs";
/// The type of card that the scenarios use.
pub const TYPE: &str = "mgpu-16";
/// Bytes of its VRAM.
pub const VRAM: usize = 16 << 20;

/// Bytes of guest memory. The ring is in its first page.
pub const GUEST: usize = 8 << 20;
/// Address of guest memory for the device: not that for the CPU, so that mixing them up shows.
pub const IOVA: u64 = 0x1_0010_0000;
/// Commands that the ring has room for, and one.
pub const RING: u32 = 64;
/// Where guest memory has data: behind the ring, and one page that keeps fences.
pub const DATA: usize = FENCE + 4096;
/// Where guest memory has fences.
pub const FENCE: usize = RING as usize * COMMAND_LEN;

/// How long a ring full of commands may take: some hundred times what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a FENCE has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Its value.
    pub value: u64,
    /// Error of the first command that failed.
    pub status: u32,
    /// Its index.
    pub index: u32,
}

/// An open card with guest memory and a ring that runs. Removed when dropped, mapping and device
/// first.
pub struct Card {
    /// VRAM as the CPU sees it.
    pub vram: Mapping,
    /// The device.
    pub device: Device,
    /// Guest memory.
    pub guest: Arc<Mapping>,
    /// Where the device finds it.
    base: u64,
    mdev: Mdev,
}

impl Card {
    /// Loads the driver.
    pub fn load(ctx: &mut Ctx) -> Result<()> {
        ctx.step(format!("loading {MODULE}"));
        load("vfio_iommu_type1")?;
        load(MODULE)
    }

    /// A new card whose ring is not started.
    pub fn new() -> Result<Card> {
        Card::through(Device::open)
    }

    /// A new card that is opened in some way.
    pub fn through(open: fn(&Path) -> Result<Device>) -> Result<Card> {
        let mdev = MdevType::find(MODULE, TYPE)?.create()?;
        let device = open(mdev.path())?;
        Card::with_memory(mdev, device, IOVA)
    }

    /// A new card with a ring that runs, in the container of another one. The ring is in memory of
    /// its own, at `base`.
    pub fn started_beside(other: &Card, base: u64) -> Result<Card> {
        let mdev = MdevType::find(MODULE, TYPE)?.create()?;
        let device = other.device.open_beside(mdev.path())?;
        let card = Card::with_memory(mdev, device, base)?;
        card.start()?;
        Ok(card)
    }

    fn with_memory(mdev: Mdev, device: Device, base: u64) -> Result<Card> {
        let guest = Arc::new(Mapping::anonymous(GUEST)?);
        device.space.map_dma(Dma {
            iova: base,
            memory: &guest,
            offset: 0,
            len: GUEST,
            access: Access::ReadWrite,
        })?;
        let region = device.region(BAR_VRAM as u32, None)?;
        Ok(Card {
            vram: device.map(region.offset, VRAM)?,
            device,
            guest,
            base,
            mdev,
        })
    }

    /// A new card with a ring that runs.
    pub fn started() -> Result<Card> {
        let card = Card::new()?;
        card.start()?;
        Ok(card)
    }

    /// The UUID of its mdev.
    pub fn mdev(&self) -> &str {
        &self.mdev.uuid
    }

    /// Starts the ring, or starts it anew.
    pub fn start(&self) -> Result<()> {
        self.start_at(self.base, RING)
    }

    /// Starts a ring of some geometry.
    pub fn start_at(&self, base: u64, size: u32) -> Result<()> {
        self.device.enable_bus_master()?;
        self.set(reg::CONTROL, 0)?;
        self.await_idle()?;
        self.set(reg::RING_BASE_LO, base as u32)?;
        self.set(reg::RING_BASE_HI, (base >> 32) as u32)?;
        self.set(reg::RING_SIZE, size)?;
        self.set(reg::CONTROL, control::ENABLE)
    }

    /// Reads a register. BAR 0 is at the beginning of the device file.
    pub fn get(&self, register: u64) -> Result<u32> {
        let value = self.device.read_u32(register);
        value.with_context(|| format!("read the register {register:#x}"))
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: u32) -> Result<()> {
        let count = self.device.write(register, &value.to_le_bytes())?;
        ensure!(count == 4, "a register takes {count} bytes");
        Ok(())
    }

    /// Puts commands behind those in the ring, which has room for them, and rings the doorbell.
    pub fn submit(&self, commands: &[Command]) -> Result<()> {
        let mut tail = self.get(reg::RING_TAIL)?;
        for command in commands {
            self.guest
                .write(tail as usize * COMMAND_LEN, &command.encode());
            tail = (tail + 1) % RING;
        }
        self.set(reg::RING_TAIL, tail)
    }

    /// Executes commands, which fit the ring, and waits until they are done.
    pub fn execute(&self, commands: &[Command]) -> Result<()> {
        self.submit(commands)?;
        self.await_idle()
    }

    /// Waits until the device has nothing to do.
    pub fn await_idle(&self) -> Result<()> {
        self.poll(
            "idle",
            |card| Ok(card.get(reg::STATUS)? & status::BUSY == 0),
        )
    }

    /// Waits until so many commands from `first` on are executed, or all.
    pub fn await_progress(&self, first: u32, commands: u32) -> Result<()> {
        self.poll("further", |card| {
            let head = card.get(reg::RING_HEAD)?;
            let is_over = head == card.get(reg::RING_TAIL)?;
            Ok(is_over || head.wrapping_sub(first) % RING >= commands)
        })
    }

    /// Looks again and again: without a FENCE, the device has no event to wait for.
    fn poll(&self, what: &str, done: impl Fn(&Card) -> Result<bool>) -> Result<()> {
        let deadline = patience::until(PATIENCE);
        while !done(self)? {
            ensure!(!deadline.is_over(), "the device does not get {what}");
            thread::yield_now();
        }
        Ok(())
    }

    /// FENCE, as two registers.
    pub fn fence_register(&self) -> Result<u64> {
        let high = u64::from(self.get(reg::FENCE_HI)?);
        Ok(high << 32 | u64::from(self.get(reg::FENCE_LO)?))
    }

    /// What the last FENCE has written to the fences' page.
    pub fn fence(&self) -> Fence {
        let mut bytes = [0; 16];
        self.guest.read(FENCE, &mut bytes);
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        Fence {
            value: u64::from(word(4)) << 32 | u64::from(word(0)),
            status: word(8),
            index: word(12),
        }
    }
}

/// The device's address of a place in guest memory.
pub fn iova(offset: usize) -> u64 {
    IOVA + offset as u64
}

/// All of a mapping.
pub fn contents(mapping: &Mapping) -> Vec<u8> {
    let mut bytes = vec![0; mapping.len()];
    mapping.read(0, &mut bytes);
    bytes
}
