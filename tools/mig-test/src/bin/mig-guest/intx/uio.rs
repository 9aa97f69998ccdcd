// SPDX-License-Identifier: GPL-2.0
//! uio_pci_generic: `/dev/uio0` tells how many interrupts there were, and configuration space
//! enables INTx (Documentation/driver-api/uio-howto.rst in the kernel tree).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::Handed;
use crate::pci::{self, Config, COMMAND_INTX_DISABLE};
use mig_common::modules;

/// How long an interrupt may take, as with vfio-pci: a bound for what has gone wrong.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
const NONE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A device that uio_pci_generic has.
pub struct Uio {
    uio: File,
    /// Its first BAR, of I/O ports.
    ports: File,
    config: Config,
    /// Interrupts so far, by the driver's count, which wraps.
    seen: u32,
}

impl Uio {
    /// Takes the device in a sysfs folder from its driver.
    pub fn start(device: &Path) -> io::Result<Uio> {
        pci::bind(device, "uio_pci_generic", modules::UIO)?;
        let mut names = fs::read_dir(device.join("uio"))?;
        let name = names
            .next()
            .ok_or_else(|| io::Error::other("the device has no uio"))??;
        let node = Path::new("/dev").join(name.file_name());
        Ok(Uio {
            uio: File::options().read(true).write(true).open(node)?,
            ports: pci::bar(device, 0)?,
            config: Config::open(device)?,
            seen: 0,
        })
    }

    fn interrupts(&mut self, patience: &Timespec) -> io::Result<u64> {
        let ready = poll(&mut [PollFd::new(&self.uio, PollFlags::IN)], Some(patience))?;
        if ready == 0 {
            return Ok(0);
        }
        let mut count = [0; 4];
        self.uio.read_exact(&mut count)?;
        let count = u32::from_ne_bytes(count);
        let more = count.wrapping_sub(self.seen);
        self.seen = count;
        Ok(more.into())
    }
}

impl Handed for Uio {
    fn read(&self, register: u64) -> io::Result<u8> {
        let mut byte = [0];
        self.ports.read_exact_at(&mut byte, register)?;
        Ok(byte[0])
    }

    fn write(&self, register: u64, value: u8) -> io::Result<()> {
        self.ports.write_all_at(&[value], register)
    }

    fn await_interrupts(&mut self) -> io::Result<u64> {
        self.interrupts(&PATIENCE)
    }

    fn take_interrupts(&mut self) -> io::Result<u64> {
        self.interrupts(&NONE)
    }

    fn enable(&self) -> io::Result<()> {
        self.config.change_command(0, COMMAND_INTX_DISABLE)
    }
}
