// SPDX-License-Identifier: GPL-2.0
//! What is in configuration space, what a guest can write, and what the driver learns of that.

use anyhow::Result;
use rustix::io::Errno;

use super::card::{register, Card, DEVICE_CONTROL, EXPRESS, MAILBOX, POWER, POWER_CONTROL};
use super::card::{COMMAND, MASTER, SERIAL, VENDOR, VSEC};
use crate::scenario::conformance::checks::Checks;

/// The registers of the type `express` that are not zero or not read-only: offset, value after a
/// reset, writable bits.
const REGISTERS: [(u64, u32, u32); 25] = [
    // Ids; command, with its six bits; a list of capabilities, and no DEVSEL#.
    (0x00, 0x0001_4346, 0),
    (COMMAND, 0x0010_0000, 0x0547),
    (0x08, 0xff00_0000, 0),
    (0x10, 0, !(register::SIZE - 1)),
    (0x2c, 0x0001_4346, 0),
    (0x34, 0x40, 0),
    (0x3c, 0x0100, 0xff),
    // MSI: one vector, 64 bits.
    (0x40, 0x0080_5005, 0x0001_0000),
    (0x44, 0, 0xffff_fffc),
    (0x48, 0, 0xffff_ffff),
    (0x4c, 0, 0xffff),
    // Power Management; the two bits of the state, which here change from D0 to D3hot.
    (POWER, 0x0003_5801, 0),
    (POWER_CONTROL, 0x0008, 0x0003),
    // PCI Express, version 2, an endpoint that can be reset. Initiate FLR is not written here.
    (EXPRESS, 0x0002_9410, 0),
    (EXPRESS + 0x04, 0x1000_8000, 0),
    (DEVICE_CONTROL, 0x2810, 0x781f),
    (EXPRESS + 0x0c, 0x0040_0011, 0),
    (EXPRESS + 0x10, 0x0011_0000, 0x00cb),
    (EXPRESS + 0x24, 0x0010, 0),
    (EXPRESS + 0x28, 0, 0x0010),
    (EXPRESS + 0x2c, 0x0002, 0),
    // Vendor-specific, six bytes.
    (VENDOR, 0x1106_0009, 0),
    (VENDOR + 4, 0x3322, 0x00f0),
    // Vendor-specific, extended: the mailbox, and four bytes that are read-only.
    (MAILBOX, 0, 0xffff_ffff),
    (MAILBOX + 4, READ_ONLY, 0),
];
/// Those of extended capabilities' headers and of the serial number, read-only.
const EXTENDED: [(u64, u32); 5] = [
    (SERIAL, 0x10c1_0003),
    (SERIAL + 4, register::SERIAL as u32),
    (SERIAL + 8, (register::SERIAL >> 32) as u32),
    (VSEC, 0x0001_000b),
    // Id 1, revision 2, 16 bytes.
    (VSEC + 4, 0x0102_0001),
];
/// What is behind the mailbox.
const READ_ONLY: u32 = {
    let [.., a, b, c, d] = register::MAILBOX_BYTES;
    u32::from_le_bytes([a, b, c, d])
};
/// Initiate FLR.
const INITIATE: u32 = 0x8000;

/// Checks each register of the type `express`, and the size of the others' space.
pub fn run(checks: &mut Checks) -> Result<()> {
    let card = Card::new("express")?;
    checks.equal("size of an express device", card.space()?.len(), 4096);
    checks.refused("read at the end", card.read(4096, &mut [0]), Errno::FAULT);
    checks.refused("write across it", card.write(4094, &[0; 4]), Errno::FAULT);
    let extended = EXTENDED.map(|(at, value)| (at, value, 0));
    for at in (0..4096).step_by(4) {
        let known = REGISTERS.iter().chain(&extended);
        let known = known.copied().find(|(offset, ..)| *offset == at);
        let (_, value, writable) = known.unwrap_or((at, 0, 0));
        checks.equal(format!("value at {at:#x}"), card.config(at)?, value);
        let kept = if at == DEVICE_CONTROL { INITIATE } else { 0 };
        card.write(at, &(!kept).to_le_bytes())?;
        let ones = card.config(at)?;
        card.write(at, &[0; 4])?;
        let zeros = card.config(at)?;
        checks.equal(format!("writable bits at {at:#x}"), ones ^ zeros, writable);
        checks.equal(format!("zeros at {at:#x}"), zeros, value & !writable);
        card.write(at, &value.to_le_bytes())?;
    }
    checks.equal("resets by all that", card.get(register::RESETS)?, 0);

    let conventional = Card::new("conventional")?;
    let size = conventional.space()?.len();
    checks.equal("size of a conventional device", size, 256);
    // DEVSEL#, a list, and the vendor-specific capability in it.
    checks.equal("its status", conventional.config(COMMAND)?, 0x0210_0000);
    checks.equal("its capability", conventional.config(0x50)?, 0x0009_0009);
    power(checks, &card)
}

/// The power states that are not there leave the state as it is.
fn power(checks: &mut Checks, card: &Card) -> Result<()> {
    for (written, state) in [(1, 0), (2, 0), (3, 3), (2, 3), (1, 3), (0, 0)] {
        card.write(POWER_CONTROL, &[written])?;
        let found = card.config(POWER_CONTROL)?;
        checks.equal(format!("D{written} was written"), found, 0x0008 | state);
    }
    Ok(())
}

/// Checks the calls of `config_written`, and `Context::read_config`.
pub fn learned(checks: &mut Checks) -> Result<()> {
    for (kind, mailbox) in [
        ("express", MAILBOX),
        ("free", 0x108),
        ("conventional", 0x54),
    ] {
        let card = Card::new(kind)?;
        let learned = || -> Result<[u32; 4], Errno> {
            let registers = [
                register::CALLS,
                register::OFFSET,
                register::LENGTH,
                register::MAILBOX,
            ];
            let mut found = [0; 4];
            for (found, register) in found.iter_mut().zip(registers) {
                *found = card.get(register)?;
            }
            Ok(found)
        };
        let what = |text: &str| format!("{kind}: {text}");
        card.space()?;
        checks.equal(what("learned of reads"), learned()?, [0; 4]);
        let at = mailbox as u32;
        card.write(mailbox, &[1, 2, 3, 4])?;
        let expected = [1, at, 4, 0x0403_0201];
        checks.equal(what("learned of a write"), learned()?, expected);
        card.write(mailbox + 3, &[5])?;
        let expected = [2, at + 3, 1, 0x0503_0201];
        checks.equal(what("learned of a byte"), learned()?, expected);
        // Of eight bytes the driver learns in two calls.
        card.write(mailbox, &[6; 8])?;
        let expected = [4, at + 4, 4, 0x0606_0606];
        checks.equal(what("learned of eight bytes"), learned()?, expected);
        card.write(0x00, &[0xff; 4])?;
        let expected = [5, 0, 4, 0x0606_0606];
        checks.equal(what("learned of the ids"), learned()?, expected);
        for (command, is_master) in [(MASTER, 1), (MASTER & !4, 0)] {
            card.command(command)?;
            let found = card.get(register::MASTER)?;
            checks.equal(what("is bus master"), found, is_master);
        }
        let size = card.space()?.len() as u32;
        for offset in [0, at, size - 4] {
            card.set(register::PROBE, offset)?;
            let (found, is) = (card.get(register::PROBE)?, card.config(offset.into())?);
            checks.equal(what("what the driver reads"), found, is);
        }
        for offset in [size - 3, size, u32::MAX] {
            let found = card.set(register::PROBE, offset);
            checks.refused(what("a read beyond the end"), found, Errno::INVAL);
        }
    }
    Ok(())
}
