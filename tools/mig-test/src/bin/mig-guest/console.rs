// SPDX-License-Identifier: GPL-2.0
//! QEMU's debug console: a port without state. QEMU's serial port would not do in a migration, in
//! which it sends the bytes of its FIFO from both ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use mig_common::message::{Message, PREFIX};

/// Where the debug console listens, by convention.
const DEBUG_PORT: u64 = 0xe9;

/// The way to the other side; messages of several threads do not mix.
pub struct DebugConsole(Mutex<File>);

impl DebugConsole {
    /// Opens the I/O ports.
    pub fn open() -> io::Result<DebugConsole> {
        let ports = File::options().write(true).open("/dev/port")?;
        Ok(DebugConsole(Mutex::new(ports)))
    }

    /// Says something.
    pub fn say(&self, message: &Message) -> io::Result<()> {
        let text = format!("{PREFIX}{}\n", serde_json::to_string(message)?);
        let ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each byte by itself: the next byte of a longer write would go to the next port.
        text.as_bytes()
            .iter()
            .try_for_each(|&byte| ports.write_all_at(&[byte], DEBUG_PORT))
    }

    /// Says that something has failed.
    pub fn complain(&self, what: &str, error: &io::Error) -> io::Result<()> {
        let text = format!("{what}: {error}");
        self.say(&Message::Fault { text })
    }
}
