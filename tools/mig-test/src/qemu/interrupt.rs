// SPDX-License-Identifier: GPL-2.0
//! Stops a VM repeatedly until a certain moment: a card's INTx is raised in the guest's interrupt
//! controller, the card does not assert it any more, and the guest will not access the card before
//! it handles that interrupt.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use serde_json::json;

use super::vm::Vm;

/// The maximum number of stops. The moment usually comes after about a hundred; on a busy machine
/// it took 1,409.
const STOPS: usize = 20_000;
/// QEMU's trace events of accesses to a device's regions.
const ACCESSES: [&str; 2] = ["vfio_region_read", "vfio_region_write"];
/// The number of bytes of the trace that are read.
const TAIL: u64 = 4096;
/// The first pin of an I/O APIC for PCI's interrupts.
const FIRST_PCI_PIN: u32 = 16;

/// The number of stops until the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stops {
    /// All.
    pub all: usize,
    /// Those with a raised line.
    pub raised: usize,
}

/// The number of consecutive fruitless reads of a card that makes a storm. A late signal of the
/// device costs about ten; without a signal there are 10,000 before KVM lets the guest do anything
/// else (`IOAPIC_SUCCESSIVE_IRQ_MAX_COUNT`).
const STORM: usize = 2000;

/// Records the accesses to its card of a guest that is about to arrive.
pub fn watch(vm: &mut Vm) -> Result<()> {
    trace(vm, true)
}

/// Requires that the guest had no interrupt storm since then.
pub fn ensure_no_storm(vm: &mut Vm) -> Result<()> {
    trace(vm, false)?;
    let path = vm.trace();
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let looks = longest_storm(&text);
    ensure!(
        looks < STORM,
        "an interrupt storm: the guest has looked at its card {looks} times in vain"
    );
    Ok(())
}

/// Returns the largest number of consecutive fruitless reads of a card.
fn longest_storm(accesses: &str) -> usize {
    let (mut longest, mut row) = (0, 0);
    for line in accesses.lines() {
        row = if interrupt(line).is_some_and(|iir| iir & 1 != 0) {
            row + 1
        } else {
            0
        };
        longest = longest.max(row);
    }
    longest
}

/// Returns the value that was read from a card's interrupt register, if the line is such a read.
fn interrupt(line: &str) -> Option<u8> {
    let (_, iir) = line.split_once(":region0+0x2, 1) = 0x")?;
    u8::from_str_radix(iir.trim(), 16).ok()
}

/// Stops a VM with one serial card at that moment; it stays stopped.
pub fn stop_at_the_moment(vm: &mut Vm) -> Result<Stops> {
    trace(vm, true)?;
    let mut stops = Stops::default();
    while stops.all < STOPS {
        vm.command("stop", json!({}))?;
        stops.all += 1;
        if let Some(vector) = raised(&vm.monitor("info pic")?)? {
            stops.raised += 1;
            if card_is_served(&tail(vm.trace())?) && interrupt_is_next(vm, vector)? {
                trace(vm, false)?;
                return Ok(stops);
            }
        }
        vm.command("cont", json!({}))?;
    }
    bail!("of {stops:?} none was at the moment");
}

fn trace(vm: &mut Vm, enable: bool) -> Result<()> {
    for name in ACCESSES {
        let event = json!({ "name": name, "enable": enable });
        vm.command("trace-event-set-state", event)?;
    }
    Ok(())
}

/// Returns the vector of the one pin to which the guest has routed an INTx of PCI, if the I/O APIC
/// of `info pic` has a request of that pin.
fn raised(pic: &str) -> Result<Option<u8>> {
    let routed: Vec<_> = pic.lines().filter_map(pin).collect();
    let requests = pic
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("IRR"));
    let (&[(pin, vector)], Some(requests)) = (&routed[..], requests) else {
        bail!("one pin for INTx was expected, and pins with requests: {pic}");
    };
    Ok(numbers(requests)
        .any(|request| request == pin)
        .then_some(vector))
}

/// Returns number and vector of a pin, if it is PCI's, level triggered and not masked.
fn pin(line: &str) -> Option<(u32, u8)> {
    let mut words = line.trim_start().strip_prefix("pin ")?.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let entry = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let (level, masked) = (entry & 1 << 15 != 0, entry & 1 << 16 != 0);
    (number >= FIRST_PCI_PIN && level && !masked).then_some((number, entry as u8))
}

/// Returns the decimal numbers in a text.
fn numbers(text: &str) -> impl Iterator<Item = u32> + '_ {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok())
}

/// Returns whether the guest's processor accepts interrupts, or is handling this one: between its
/// last read of the card and the end of the interrupt, the driver does not access the card. In
/// other code with interrupts off it may.
fn interrupt_is_next(vm: &mut Vm, vector: u8) -> Result<bool> {
    let (registers, lapic) = (vm.monitor("info registers")?, vm.monitor("info lapic")?);
    Ok(takes_interrupts(&registers)? || is_in_service(&lapic, vector)?)
}

/// Returns the processor's interrupt flag from `info registers`.
fn takes_interrupts(registers: &str) -> Result<bool> {
    let flags = registers.split_once("RFL=").and_then(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit())?;
        u64::from_str_radix(&rest[..end], 16).ok()
    });
    let flags = flags.with_context(|| format!("no flags in {registers}"))?;
    Ok(flags & 1 << 9 != 0)
}

/// Returns whether the local APIC of `info lapic` has begun and not ended an interrupt.
fn is_in_service(lapic: &str, vector: u8) -> Result<bool> {
    let service = lapic.lines().find_map(|line| line.strip_prefix("ISR"));
    let service = service.with_context(|| format!("no interrupts in service in {lapic}"))?;
    Ok(numbers(service).any(|number| number == u32::from(vector)))
}

/// Returns whether the guest's last read of the card has shown that there is nothing to do. Only a
/// write of the guest changes that.
fn card_is_served(accesses: &str) -> bool {
    for line in accesses.lines().rev() {
        if line.contains("vfio_region_write") {
            return false;
        }
        if let Some(iir) = interrupt(line) {
            return iir & 1 != 0;
        }
    }
    false
}

/// Returns the end of a file.
fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIC: &str = "ioapic0: ver=0x20 id=0x00 sel=0x10 (redir[0])\n  \
        pin 9  0x0000000000008029 dest=0 vec=41  active-hi level        fixed  physical\n  \
        pin 16 0x0000000000018000 dest=0 vec=0   active-hi level masked fixed  physical\n  \
        pin 21 0x000000000000c025 dest=0 vec=37  active-hi level        fixed  physical\n  \
        IRR        9  21 \n  \
        Remote IRR (none)\n";

    #[test]
    fn the_pin_is_the_one_that_the_guest_has_routed() {
        assert_eq!(raised(PIC).unwrap(), Some(37));
        assert_eq!(raised(&PIC.replace("9  21", "9")).unwrap(), None);
        assert_eq!(raised(&PIC.replace("9  21", "(none)")).unwrap(), None);
        assert!(raised(&PIC.replace("0018000", "0008000")).is_err());
        assert!(raised("").is_err());
    }

    #[test]
    fn the_processor_takes_interrupts_or_is_at_one() {
        let registers = |flags| format!("RIP=ffffffff8110 RFL={flags} [---Z-P-] CPL=0\r\n");
        assert!(takes_interrupts(&registers("00000246")).unwrap());
        assert!(!takes_interrupts(&registers("00000046")).unwrap());
        let lapic = |service| format!("LVT0\t 0x00010700\r\nISR\t {service}\r\nIRR\t 37 236\r\n");
        assert!(is_in_service(&lapic("37(level) 48"), 37).unwrap());
        assert!(!is_in_service(&lapic("(none)"), 37).unwrap());
        assert!(is_in_service("", 37).is_err());
    }

    #[test]
    fn a_storm_is_a_row_of_looks_that_find_nothing() {
        let nothing = "vfio_region_read  (a:region0+0x2, 1) = 0xc1\n";
        let data = "vfio_region_read  (a:region0+0x2, 1) = 0xc4\n";
        let other = "vfio_region_write  (a:region0+0x0, 0x41, 1)\n";
        let longest = |lines: &[&str]| longest_storm(&lines.concat());
        assert_eq!(longest(&[nothing, nothing, data, nothing]), 2);
        assert_eq!(longest(&[nothing, other, nothing]), 1);
        assert_eq!(longest(&[data, other]), 0);
    }

    #[test]
    fn a_card_is_served_when_its_guest_was_told_so_and_has_written_nothing_since() {
        let found = "vfio_region_read  (a:region0+0x2, 1) = 0xc1\n";
        let data = "vfio_region_read  (a:region0+0x2, 1) = 0xc4\n";
        let status = "vfio_region_read  (a:region0+0x5, 1) = 0x60\n";
        let sent = "vfio_region_write  (a:region0+0x0, 0x41, 1)\n";
        let served = |lines: &[&str]| card_is_served(&lines.concat());
        assert!(served(&[sent, data, found, status]));
        assert!(!served(&[found, sent, status]));
        assert!(!served(&[found, data]));
        assert!(!served(&[status]));
    }
}
