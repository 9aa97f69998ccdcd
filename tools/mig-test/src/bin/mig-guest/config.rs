// SPDX-License-Identifier: GPL-2.0
//! A card of `config_rs` behind a port of PCI Express: its extended configuration space as the
//! guest's kernel reads it, a function-level reset, and a mailbox there that the card reads.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::memory::Memory;
use crate::pci;

// A file of the test modules, which Kbuild compiles and cargo does not.
#[path = "../../../kmod/config_registers.rs"]
#[allow(dead_code)] // what the scenario alone uses of it
mod register;

/// The ids of the card.
const IDS: (u16, u16) = (0x4346, 0x0001);
/// PCI_COMMAND_MEMORY.
const COMMAND_MEMORY: u16 = 1 << 1;
/// Bytes of the configuration space of an express device.
const SIZE: u64 = 4096;
/// Offset of the first extended capability.
const EXTENDED: u64 = 0x100;
/// PCI_EXT_CAP_ID_DSN and PCI_EXT_CAP_ID_VNDR.
const SERIAL_NUMBER: u16 = 0x03;
const VENDOR_SPECIFIC: u16 = 0x0b;
/// Offset of the mailbox in the latter.
const MAILBOX: u64 = 8;
/// What the guest leaves there.
const LETTER: u32 = 0x600d_cafe;

/// The card, with a letter in its mailbox.
pub struct Card {
    config: File,
    registers: Memory,
    /// Offset of the mailbox in configuration space.
    mailbox: u64,
}

impl Card {
    /// Finds the card, resets it, and leaves a letter.
    pub fn start() -> io::Result<Card> {
        let path = pci::find(IDS.0, IDS.1)?;
        pci::Config::open(&path)?.change_command(COMMAND_MEMORY | pci::COMMAND_MASTER, 0)?;
        let config = File::options()
            .read(true)
            .write(true)
            .open(path.join("config"))?;
        require(
            "size of the configuration space",
            config.metadata()?.len(),
            SIZE,
        )?;
        let serial = extended(&config, SERIAL_NUMBER)?;
        let high = u64::from(read(&config, serial + 8)?);
        let number = high << 32 | u64::from(read(&config, serial + 4)?);
        require("serial number", number, register::SERIAL)?;
        let mailbox = extended(&config, VENDOR_SPECIFIC)? + MAILBOX;
        let card = Card {
            registers: Memory::of_file(pci::bar(&path, 0)?, register::SIZE as usize)?,
            config,
            mailbox,
        };
        card.leave(!LETTER)?;
        card.reset(&path)?;
        card.leave(LETTER)?;
        Ok(card)
    }

    /// Has the guest's kernel reset the function.
    fn reset(&self, path: &Path) -> io::Result<()> {
        let methods = fs::read_to_string(path.join("reset_method"))?;
        require(
            "first of the ways to reset it",
            methods.split_whitespace().next(),
            Some("flr"),
        )?;
        let before = self.register(register::RESETS);
        fs::write(path.join("reset"), "1")?;
        let resets = self.register(register::RESETS) - before;
        require("resets", resets, 1)?;
        require("mailbox after it", read(&self.config, self.mailbox)?, 0)
    }

    fn leave(&self, letter: u32) -> io::Result<()> {
        self.config
            .write_all_at(&letter.to_le_bytes(), self.mailbox)?;
        self.check_letter(letter)
    }

    /// Checks that the letter is still there, and that the card has it.
    pub fn check(&self) -> io::Result<()> {
        self.check_letter(LETTER)
    }

    fn check_letter(&self, letter: u32) -> io::Result<()> {
        require("mailbox", read(&self.config, self.mailbox)?, letter)?;
        require(
            "letter of the card",
            self.register(register::MAILBOX),
            letter,
        )
    }

    fn register(&self, register: u64) -> u32 {
        self.registers.load(register as usize)
    }
}

/// Returns the offset of an extended capability.
fn extended(config: &File, id: u16) -> io::Result<u64> {
    let mut at = EXTENDED;
    while at >= EXTENDED {
        let header = read(config, at)?;
        if header as u16 == id {
            return Ok(at);
        }
        at = u64::from(header >> 20);
    }
    Err(io::Error::other(format!("no extended capability {id:#x}")))
}

fn read(config: &File, offset: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    config.read_exact_at(&mut bytes, offset)?;
    Ok(u32::from_le_bytes(bytes))
}

fn require<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> io::Result<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{what}: {found:x?} instead of {wanted:x?}"
        ))),
    }
}
