// SPDX-License-Identifier: GPL-2.0
//! The toy GPU in the guest: its BARs through sysfs, its ring in huge pages.
//!
//! Its interrupt would need a driver in the guest's kernel, so fences are polled.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mgpu_model::uapi::{
    self, control, reg, BAR_REGISTERS, BAR_VRAM, COMMAND_LEN, PCI_DEVICE_ID, PCI_VENDOR_ID,
};
use mig_common::command::Command;
use mig_common::message::Message;

use super::dma::{Dma, PAGE};
use super::iommu::Iommu;
use crate::console::DebugConsole;
use crate::memory::Memory;
use crate::pci;

/// Huge pages that the card works with.
const HUGE_PAGES: usize = 4;
/// Commands that the ring has room for, and one.
const RING: usize = 1024;
/// The page behind the ring, where fences are written to.
const FENCE: usize = RING * COMMAND_LEN;
/// The first page behind all this.
pub const FREE: usize = FENCE + PAGE;
/// Time between two looks at a fence.
const LOOK: Duration = Duration::from_millis(5);
/// Time after which commands in the ring are reported as stalled, some hundred times what they
/// take. The host judges ([`Message::Stalled`]).
const PATIENCE: Duration = Duration::from_secs(60);

/// The card, with a ring that runs.
pub struct Card {
    /// VRAM.
    pub vram: Memory,
    /// Guest memory, from [`FREE`] on for the caller's use.
    pub guest: Dma,
    registers: Memory,
    /// What is between the card and the memory, if the guest has that.
    iommu: Option<Iommu>,
    /// Where a stall is reported.
    console: Arc<DebugConsole>,
    tail: usize,
}

impl Card {
    /// Finds the card, and starts it; behind the guest's own IOMMU if that is wanted.
    pub fn start(console: Arc<DebugConsole>, behind_iommu: bool) -> io::Result<Card> {
        let path = pci::find(PCI_VENDOR_ID, PCI_DEVICE_ID)?;
        std::fs::write(path.join("enable"), "1")?;
        let guest = Dma::new(HUGE_PAGES)?;
        let iommu = match behind_iommu {
            true => Some(Iommu::start(&path, &guest)?),
            false => None,
        };
        pci::Config::open(&path)?.change_command(pci::COMMAND_MASTER, 0)?;
        let card = Card {
            vram: bar(&path, BAR_VRAM)?,
            guest,
            registers: bar(&path, BAR_REGISTERS)?,
            iommu,
            console,
            tail: 0,
        };
        let is_known = card.get(reg::ID) == uapi::ID
            && card.get(reg::VERSION) >> 16 == uapi::VERSION >> 16
            && card.get(reg::VRAM_SIZE) as usize == card.vram.len();
        if !is_known {
            return Err(io::Error::other("the GPU is not of a version known here"));
        }
        card.set(reg::CONTROL, control::RESET);
        let base = card.guest.address(0);
        card.set(reg::RING_BASE_LO, base as u32);
        card.set(reg::RING_BASE_HI, (base >> 32) as u32);
        card.set(reg::RING_SIZE, RING as u32);
        card.set(reg::CONTROL, control::ENABLE);
        card.ensure_well()?;
        Ok(card)
    }

    /// Reads a register.
    pub fn get(&self, register: u64) -> u32 {
        self.registers.load(register as usize)
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: u32) {
        self.registers.store(register as usize, value);
    }

    /// Puts commands, which it has room for, into the ring, behind them a fence of this value.
    pub fn submit(&mut self, commands: &[Command], fence: u64) {
        let fence = Command::fence(self.guest.address(FENCE), fence);
        for command in commands.iter().chain([&fence]) {
            let words = command.encode();
            for (i, word) in words.chunks_exact(8).enumerate() {
                let word = u64::from_le_bytes(std::array::from_fn(|at| word[at]));
                let at = self.tail * COMMAND_LEN + i * 8;
                self.guest.memory.store_u64(at, word);
            }
            self.tail = (self.tail + 1) % RING;
        }
        self.set(reg::RING_TAIL, self.tail as u32);
    }

    /// Waits until a fence of this value or a later one is there.
    pub fn await_fence(&self, value: u64) -> io::Result<()> {
        let mut next_report = Instant::now() + PATIENCE;
        while self.guest.memory.load_u64(FENCE) < value {
            if Instant::now() > next_report {
                self.ensure_well()?;
                let what = format!(
                    "fence {value} of the GPU: HEAD is {}, TAIL {}",
                    self.get(reg::RING_HEAD),
                    self.get(reg::RING_TAIL)
                );
                let state = fs::read_to_string("/proc/interrupts")?;
                self.console.say(&Message::Stalled { state, what })?;
                next_report = Instant::now() + PATIENCE;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Has the IOMMU take all memory from the card, which has nothing to do, and give it back.
    pub fn renew_memory(&mut self) -> io::Result<()> {
        let iommu = self.iommu.as_mut();
        let iommu = iommu.ok_or_else(|| io::Error::other("there is no IOMMU"))?;
        iommu.renew(&self.guest)
    }

    /// Demands that no command has failed since the start.
    pub fn ensure_well(&self) -> io::Result<()> {
        match self.get(reg::ERROR) {
            0 => Ok(()),
            error => Err(io::Error::other(format!(
                "the GPU reports error {error} of command {}",
                self.get(reg::ERROR_INDEX)
            ))),
        }
    }
}

fn bar(device: &Path, bar: usize) -> io::Result<Memory> {
    let path = device.join(format!("resource{bar}"));
    let file = File::options().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    Memory::of_file(file, len as usize)
}
