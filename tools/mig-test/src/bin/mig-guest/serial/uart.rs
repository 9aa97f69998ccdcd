// SPDX-License-Identifier: GPL-2.0
//! The serial card in the guest: its ttys in sysfs, its registers through `/dev/port`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mig_common::message::Registers;

use crate::pci::{self, attribute};

/// PCI vendor and device of the card.
pub const PCI_ID: (u16, u16) = (0x4348, 0x3253);

const THR: u16 = 0;
const DLL: u16 = 0;
const DLM: u16 = 1;
const IER: u16 = 1;
const IIR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const SCR: u16 = 7;
const LCR_DLAB: u8 = 0x80;
const IIR_FIFOS: u8 = 0xc0;

/// One UART of the card.
pub struct Uart {
    /// Its device node.
    pub node: PathBuf,
    ports: File,
    base: u16,
}

/// Finds the UARTs of the card, in the order of its BARs.
pub fn find() -> io::Result<Vec<Uart>> {
    let card = pci::find(PCI_ID.0, PCI_ID.1)?;
    let mut uarts = Vec::new();
    for entry in fs::read_dir("/sys/class/tty")? {
        let link = entry?.path();
        if !link.canonicalize()?.starts_with(&card) {
            continue;
        }
        stay_active(&link)?;
        let port = attribute(&link, "port");
        let base = u16::from_str_radix(port.trim_start_matches("0x"), 16)
            .map_err(|_| io::Error::other(format!("{} has no I/O port", link.display())))?;
        let ports = File::options().read(true).write(true).open("/dev/port")?;
        let node = Path::new("/dev").join(entry_name(&link));
        uarts.push(Uart { node, ports, base });
    }
    uarts.sort_by(|a, b| a.node.cmp(&b.node));
    if uarts.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the serial card has no tty",
        ));
    }
    Ok(uarts)
}

/// Keeps the kernel from suspending a port, as it does half a second after the last byte: it may
/// leave data unsent that is written meanwhile (Documentation/findings.md, 9).
fn stay_active(link: &Path) -> io::Result<()> {
    // The debug kernel has no power management, and suspends nothing.
    match Path::new("/sys/power").exists() {
        true => fs::write(link.join("device/power/control"), "on"),
        false => Ok(()),
    }
}

fn entry_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

impl Uart {
    /// Reads the registers. The divisor is behind the DLAB switch, so the line must be idle.
    pub fn registers(&self) -> io::Result<Registers> {
        let lcr = self.read(LCR)?;
        let (ier, mcr, scr) = (self.read(IER)?, self.read(MCR)?, self.read(SCR)?);
        let fifos = self.read(IIR)? & IIR_FIFOS == IIR_FIFOS;
        let divisor = self.latched(lcr, || {
            let latch = [self.read(DLL)?, self.read(DLM)?];
            // A card that clears its latch when it is opened gets back what it showed.
            self.write(DLL, latch[0])?;
            self.write(DLM, latch[1])?;
            Ok(u16::from_le_bytes(latch))
        })?;
        Ok(Registers {
            ier,
            lcr,
            mcr,
            scr,
            divisor,
            fifos,
        })
    }

    /// Returns the registers that can be read without an effect on data that is on its way.
    pub fn state(&self) -> io::Result<String> {
        let [ier, lcr, mcr, lsr] = [IER, LCR, MCR, LSR].map(|register| self.read(register));
        let (ier, lcr, mcr, lsr) = (ier?, lcr?, mcr?, lsr?);
        Ok(format!(
            "{}: IER {ier:#x} LCR {lcr:#x} MCR {mcr:#x} LSR {lsr:#x}",
            self.node.display()
        ))
    }

    /// Gives the registers that no driver depends on values that do not come by chance.
    pub fn mark(&self, scr: u8, divisor: u16) -> io::Result<()> {
        self.write(SCR, scr)?;
        let [low, high] = divisor.to_le_bytes();
        self.latched(self.read(LCR)?, || {
            self.write(DLL, low)?;
            self.write(DLM, high)
        })
    }

    /// Switches interrupts, returning the former setting.
    pub fn set_interrupts(&self, ier: u8) -> io::Result<u8> {
        let former = self.read(IER)?;
        self.write(IER, ier)?;
        Ok(former)
    }

    /// Transmits a byte behind the driver's back.
    pub fn transmit(&self, byte: u8) -> io::Result<()> {
        self.write(THR, byte)
    }

    fn latched<T>(&self, lcr: u8, access: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.write(LCR, lcr | LCR_DLAB)?;
        let result = access();
        self.write(LCR, lcr)?;
        result
    }

    fn read(&self, register: u16) -> io::Result<u8> {
        let mut byte = [0];
        self.ports
            .read_exact_at(&mut byte, u64::from(self.base + register))?;
        Ok(byte[0])
    }

    fn write(&self, register: u16, value: u8) -> io::Result<()> {
        self.ports
            .write_all_at(&[value], u64::from(self.base + register))
    }
}
