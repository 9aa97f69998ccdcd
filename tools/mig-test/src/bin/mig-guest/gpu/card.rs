// SPDX-License-Identifier: GPL-2.0
//! The toy GPU in the guest: its BARs through sysfs, its rings in huge pages.
//!
//! Its interrupts would need a driver in the guest's kernel, so fences are polled.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mgpu_model::uapi::{
    self, control, feature, reg, BAR_REGISTERS, BAR_VRAM, COMMAND_LEN, PCI_DEVICE_ID,
    PCI_VENDOR_ID, RINGS,
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
/// Commands that a ring has room for, and one.
const RING: usize = 1024;
/// The page behind the rings, where fences are written to.
const FENCES: usize = RINGS * RING * COMMAND_LEN;
/// Bytes from the fence of one ring to that of the next.
const FENCE_LEN: usize = 16;
/// The first page behind all this.
pub const FREE: usize = FENCES + PAGE;
/// Time between two looks at a fence.
const LOOK: Duration = Duration::from_millis(5);
/// Time after which commands in the ring are reported as stalled, some hundred times what they
/// take. The host judges ([`Message::Stalled`]).
const PATIENCE: Duration = Duration::from_secs(60);

/// The card, with rings that run.
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
    /// TAIL of each ring that the card has.
    tails: Vec<usize>,
    /// The ring that the next command goes to.
    next: usize,
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
        let mut card = Card {
            vram: bar(&path, BAR_VRAM)?,
            guest,
            registers: bar(&path, BAR_REGISTERS)?,
            iommu,
            console,
            tails: Vec::new(),
            next: 0,
        };
        let is_known = card.get(reg::ID) == uapi::ID
            && card.get(reg::VERSION) >> 16 == uapi::VERSION >> 16
            && card.get(reg::VRAM_SIZE) as usize == card.vram.len();
        if !is_known {
            return Err(io::Error::other("the GPU is not of a version known here"));
        }
        card.set(reg::CONTROL, control::RESET);
        let rings = match card.get(reg::FEATURES) & feature::RINGS {
            0 => 1,
            _ => RINGS.min(card.get(reg::RINGS) as usize),
        };
        card.tails = vec![0; rings];
        for ring in 0..rings {
            let base = card.guest.address(slot(ring, 0));
            card.set(reg::of_ring(ring, reg::RING_BASE_LO), base as u32);
            card.set(reg::of_ring(ring, reg::RING_BASE_HI), (base >> 32) as u32);
            card.set(reg::of_ring(ring, reg::RING_SIZE), RING as u32);
            card.set(reg::of_ring(ring, reg::CONTROL), control::ENABLE);
        }
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

    /// Puts commands, which do not use the same memory, into the rings in turn, which have room for
    /// them, and behind those of each ring a fence of this value.
    pub fn submit(&mut self, commands: &[Command], fence: u64) {
        for command in commands {
            self.put(self.next, command);
            self.next = (self.next + 1) % self.tails.len();
        }
        for ring in 0..self.tails.len() {
            let to = self.guest.address(fence_at(ring));
            self.put(ring, &Command::fence(to, fence));
            let tail = self.tails[ring] as u32;
            self.set(reg::of_ring(ring, reg::RING_TAIL), tail);
        }
    }

    /// Puts a command behind those in a ring, without the doorbell.
    fn put(&mut self, ring: usize, command: &Command) {
        let at = slot(ring, self.tails[ring]);
        for (i, word) in command.encode().chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(std::array::from_fn(|at| word[at]));
            self.guest.memory.store_u64(at + i * 8, word);
        }
        self.tails[ring] = (self.tails[ring] + 1) % RING;
    }

    /// Waits until the fence of each ring has this value or a later one.
    pub fn await_fences(&self, value: u64) -> io::Result<()> {
        (0..self.tails.len()).try_for_each(|ring| self.await_fence(ring, value))
    }

    fn await_fence(&self, ring: usize, value: u64) -> io::Result<()> {
        let mut next_report = Instant::now() + PATIENCE;
        while self.guest.memory.load_u64(fence_at(ring)) < value {
            if Instant::now() > next_report {
                self.ensure_well()?;
                let what = format!(
                    "fence {value} of ring {ring} of the GPU: HEAD is {}, TAIL {}",
                    self.get(reg::of_ring(ring, reg::RING_HEAD)),
                    self.get(reg::of_ring(ring, reg::RING_TAIL))
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
        for ring in 0..self.tails.len() {
            let error = self.get(reg::of_ring(ring, reg::ERROR));
            if error != 0 {
                return Err(io::Error::other(format!(
                    "the GPU reports error {error} of command {} of ring {ring}",
                    self.get(reg::of_ring(ring, reg::ERROR_INDEX))
                )));
            }
        }
        Ok(())
    }
}

/// Where the guest's memory has a command of a ring.
fn slot(ring: usize, index: usize) -> usize {
    (ring * RING + index) * COMMAND_LEN
}

/// Where it has the fence of a ring.
fn fence_at(ring: usize) -> usize {
    FENCES + ring * FENCE_LEN
}

fn bar(device: &Path, bar: usize) -> io::Result<Memory> {
    let file = pci::bar(device, bar)?;
    let len = file.metadata()?.len();
    Memory::of_file(file, len as usize)
}
