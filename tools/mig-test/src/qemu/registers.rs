// SPDX-License-Identifier: GPL-2.0
//! Reads a device's registers as the guest's processor would, even if that does not run any more.

use anyhow::{Context, Result};
use serde_json::{json, Value};

use super::vm::Vm;

impl Vm {
    /// Returns the 32 bits at `offset` of a memory BAR of a device.
    pub fn register(&mut self, device: usize, bar: usize, offset: u64) -> Result<u32> {
        let buses = self.command("query-pci", json!({}))?;
        let base = bar_address(&buses, &format!("card{device}"), bar)
            .with_context(|| format!("the guest has not set up BAR {bar} of device {device}"))?;
        let line = format!("xp /1wx {:#x}", base + offset);
        let answer = self.monitor(&line)?;
        word(&answer).with_context(|| format!("QEMU answers to {line}: {answer}"))
    }
}

fn bar_address(buses: &Value, id: &str, bar: usize) -> Option<u64> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut devices = list(buses)
        .into_iter()
        .flat_map(|bus| list(&bus["devices"]));
    let device = devices.find(|device| device["qdev_id"] == id)?;
    let regions = list(&device["regions"]);
    let region = regions.iter().find(|region| region["bar"] == bar)?;
    region["address"].as_u64()
}

/// Parses the word in an answer like `00000000febf1034: 0x0000001f`.
fn word(answer: &str) -> Option<u32> {
    let (_, word) = answer.trim().split_once(": 0x")?;
    u32::from_str_radix(word, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_monitor_is_one_word() {
        assert_eq!(word("00000000febf1034: 0x0000001f\r\n"), Some(0x1f));
        assert_eq!(word("Cannot access memory\r\n"), None);
    }

    #[test]
    fn a_bar_is_found_by_the_device_s_name() {
        let buses = json!([{ "bus": 0, "devices": [
            { "qdev_id": "", "regions": [] },
            { "qdev_id": "card1", "regions": [{ "bar": 0, "address": 4096 }, { "bar": 2 }] },
        ] }]);
        assert_eq!(bar_address(&buses, "card1", 0), Some(4096));
        assert_eq!(bar_address(&buses, "card1", 1), None);
        assert_eq!(bar_address(&buses, "card0", 0), None);
    }
}
