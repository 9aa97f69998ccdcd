// SPDX-License-Identifier: GPL-2.0
//! A program for the guest: it uses the device without end, and checks what it does.
//!
//! `mig-test migrate` starts it in a guest that has nothing else, and moves that guest to another
//! QEMU and another device meanwhile. What it prints is the verdict, so it prints again and again:
//! it does not know when it has been moved. BARs of ports can be used through sysfs, as here. For
//! one of memory a program maps the same file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Vendor and device id, as sysfs has them.
const IDS: [&str; 2] = ["0x1af4", "0x10f0"];
const LAST: u64 = 0x04;
const STATUS: u64 = 0x08;
const EVENTS: u64 = 0x0c;
const SUM: u64 = 0x10;
/// Numbers to add up in a round, which then takes some milliseconds.
const MANY: u32 = 2_000_000;

fn main() -> io::Result<()> {
    let device = find()?;
    fs::write(device.join("enable"), "1")?;
    let ports = File::options()
        .read(true)
        .write(true)
        .open(device.join("resource0"))?;
    let read = |register| {
        let mut bytes = [0; 4];
        ports.read_exact_at(&mut bytes, register)?;
        io::Result::Ok(u32::from_le_bytes(bytes))
    };
    let write = |register, value: u32| ports.write_all_at(&value.to_le_bytes(), register);
    let (mut rounds, mut wrong) = (0u64, 0u64);
    loop {
        let last = MANY + (rounds % 1000) as u32;
        write(LAST, last)?;
        while read(STATUS)? != 0 {}
        let sum = u64::from(read(SUM)?) | u64::from(read(SUM + 4)?) << 32;
        let right = u64::from(last) * (u64::from(last) + 1) / 2;
        rounds += 1;
        wrong += u64::from(sum != right || read(EVENTS)? != 1);
        write(EVENTS, 1)?;
        if rounds % 20 == 0 {
            println!("{rounds} rounds, {wrong} wrong");
        }
    }
}

/// Returns the device's folder in sysfs.
fn find() -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/bus/pci/devices")? {
        let device = entry?.path();
        let ids = ["vendor", "device"].map(|id| fs::read_to_string(device.join(id)));
        let [vendor, id] = ids.map(|id| id.unwrap_or_default());
        if [vendor.trim(), id.trim()] == IDS {
            return Ok(device);
        }
    }
    Err(io::Error::other("the guest has no such device"))
}
