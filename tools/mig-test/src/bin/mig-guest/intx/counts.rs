// SPDX-License-Identifier: GPL-2.0
//! What the guest's kernel counts of a device's interrupts.

use std::fs;
use std::io;
use std::path::Path;

use crate::pci::attribute;

/// The counts of one interrupt line.
pub struct Counts {
    irq: String,
    /// Interrupts before the device was handed over.
    before: u64,
}

impl Counts {
    /// Counts from now on, for the device in a sysfs folder.
    pub fn begin(device: &Path) -> io::Result<Counts> {
        let mut counts = Counts {
            irq: attribute(device, "irq"),
            before: 0,
        };
        counts.before = counts.taken()?;
        Ok(counts)
    }

    /// Returns how many interrupts the kernel has taken since then.
    pub fn taken(&self) -> io::Result<u64> {
        let table = fs::read_to_string("/proc/interrupts")?;
        Ok(sum(&table, &self.irq) - self.before)
    }

    /// Returns how many interrupts no driver has claimed.
    pub fn unclaimed(&self) -> io::Result<u64> {
        let path = format!("/proc/irq/{}/spurious", self.irq);
        let text = fs::read_to_string(path)?;
        unhandled(&text).ok_or_else(|| io::Error::other(format!("no count in {text}")))
    }
}

/// The sum over the processors of one line's interrupts, as `/proc/interrupts` shows them. It shows
/// no line that has had none.
fn sum(table: &str, irq: &str) -> u64 {
    let is_it = |line: &&str| {
        let name = line.trim_start().split_once(':');
        name.is_some_and(|(name, _)| name == irq)
    };
    let line = table.lines().find(is_it).unwrap_or_default();
    let numbers = line.split_whitespace().skip(1);
    numbers.map_while(|word| word.parse::<u64>().ok()).sum()
}

/// The number behind `unhandled` in `/proc/irq/N/spurious`.
fn unhandled(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("unhandled "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{sum, unhandled};

    #[test]
    fn the_interrupts_of_a_line_are_those_of_all_processors() {
        let table = "            CPU0       CPU1\n   \
                     1:          9          0   IO-APIC    1-edge      i8042\n  \
                     21:        100          7   IO-APIC   21-fasteoi   uio_pci_generic\n\
                     NMI:          3          0   Non-maskable interrupts\n";
        assert_eq!(sum(table, "21"), 107);
        assert_eq!(sum(table, "1"), 9);
        assert_eq!(sum(table, "2"), 0);
    }

    #[test]
    fn what_was_not_claimed_is_the_number_of_that_name() {
        let text = "count 100\nunhandled 3\nlast_unhandled 17 ms\n";
        assert_eq!(unhandled(text), Some(3));
        assert_eq!(unhandled("count 1\n"), None);
    }
}
