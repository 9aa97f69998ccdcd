// SPDX-License-Identifier: GPL-2.0
//! The bytes of device state that QEMU sends in each phase, from its trace events: `query-migrate`
//! has only the sum of all devices and phases. QEMU 7.2 lacks these events; its figures are 0.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The event of a sent piece of state: ` (DEVICE) data_size BYTES`.
const SENT: &str = "vfio_save_block";
/// The event of a change of state: ` (DEVICE) state STATE`.
const STATE: &str = "vfio_migration_set_device_state";

/// Returns the arguments that make QEMU write the events to a file. QEMU accepts a pattern that
/// matches no event.
pub fn arguments(file: &Path) -> [String; 6] {
    let [option, log] = ["-trace", "-D"].map(str::to_owned);
    let pattern = |event: &str| format!("{event}*");
    [
        option.clone(),
        pattern(SENT),
        option,
        pattern(STATE),
        log,
        file.display().to_string(),
    ]
}

/// Bytes of one device's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes sent while it ran.
    pub pre_copy: u64,
    /// Bytes sent after it had stopped.
    pub stop_copy: u64,
}

/// Bytes of state by device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic(BTreeMap<String, Sent>);

impl Traffic {
    /// Parses the events of a QEMU.
    pub fn read(file: &Path) -> Result<Traffic> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("read QEMU's trace events in {}", file.display()))?;
        Ok(Traffic::parse(&text))
    }

    /// Returns the bytes sent of a device.
    pub fn of(&self, device: &str) -> Sent {
        self.0.get(device).copied().unwrap_or_default()
    }

    fn parse(text: &str) -> Traffic {
        let mut stopped: BTreeMap<&str, bool> = BTreeMap::new();
        let mut traffic = Traffic::default();
        for line in text.lines() {
            let Some((event, device, value)) = split(line) else {
                continue;
            };
            if event == STATE {
                stopped.insert(device, value == "STOP_COPY");
            } else if let (SENT, Ok(bytes)) = (event, value.parse::<u64>()) {
                let sent = traffic.0.entry(device.to_owned()).or_default();
                match stopped.get(device) {
                    Some(true) => sent.stop_copy += bytes,
                    _ => sent.pre_copy += bytes,
                }
            }
        }
        traffic
    }
}

/// Parses the event, the device and the last word of a line.
fn split(line: &str) -> Option<(&str, &str, &str)> {
    let (event, rest) = line.split_once(" (")?;
    let (device, rest) = rest.split_once(')')?;
    // Before the event there may be a process and a time.
    let event = event.trim().rsplit(':').next()?;
    Some((event, device, rest.split_whitespace().last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_device_and_by_phase() {
        let text = "vfio_migration_set_device_state  (a) state PRE_COPY\n\
                    vfio_save_block  (a) data_size 10\n\
                    vfio_save_block  (b) data_size 1\n\
                    vfio_migration_set_device_state  (a) state PRE_COPY_P2P\n\
                    vfio_migration_set_device_state  (a) state STOP_COPY\n\
                    12@34.56:vfio_save_block  (a) data_size 5\n\
                    something else\n\
                    vfio_save_block  (a) data_size 0\n";
        let traffic = Traffic::parse(text);
        let sent = |pre_copy, stop_copy| Sent {
            pre_copy,
            stop_copy,
        };
        assert_eq!(traffic.of("a"), sent(10, 5));
        assert_eq!(traffic.of("b"), sent(1, 0));
        assert_eq!(traffic.of("c"), sent(0, 0));
    }
}
