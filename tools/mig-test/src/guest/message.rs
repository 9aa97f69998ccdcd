// SPDX-License-Identifier: GPL-2.0
//! The words between `mig-guest` and `mig-test`.
//!
//! The guest prints `MIG-GUEST {json}` lines on the debug console, which its firmware also uses; it
//! is told what to do by one-line commands over its serial port.

use serde::{Deserialize, Serialize};

/// What marks a line of the debug console as the guest program's.
pub const PREFIX: &str = "MIG-GUEST ";

/// What the guest program says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Message {
    /// The cards are found and set up, the serial card's data flows. Holds the registers that it
    /// came up with, before the program touched them.
    Ready {
        /// Registers of each port as found.
        found: Vec<Registers>,
    },
    /// Sent every so many lines.
    Progress(Vec<Counters>),
    /// Answer to `report`.
    Report {
        /// The number that came with the command: an old answer is not taken for a new one.
        number: u32,
        /// What each port has sent and got back.
        counters: Vec<Counters>,
    },
    /// Answer to `pause` and `release`: nothing is in flight.
    Paused(Vec<Counters>),
    /// Answer to `registers`.
    Registers(Vec<Registers>),
    /// Answer to `hold`: so many bytes lie unread in the card.
    Held {
        /// Bytes in the FIFO of each port.
        bytes: usize,
    },
    /// Nothing came back for a long time although data is in flight.
    Stalled(Vec<Counters>),
    /// Answer to `gpu batches` and `gpu renew`: so many were given to the GPU.
    Batches {
        /// Since the start.
        batches: u64,
    },
    /// Answer to `gpu check`.
    Checked(Checked),
    /// Answer to `gpu draw`: this picture is to be seen.
    Drawn {
        /// Which.
        number: u32,
    },
    /// Answer to `intx rounds`, `intx raise` and `intx finish`.
    Interrupts(Interrupts),
    /// Something failed; the program goes on if it can.
    Fault {
        /// What failed, and why.
        text: String,
    },
}

/// What a port has sent and got back. `lost`, `repeated` and `corrupt` are in bytes, of lines that
/// never came, came twice, or came damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Lines that came back whole and in order.
    pub lines: u64,
    /// Bytes handed to the tty.
    pub written: u64,
    /// Bytes that came back.
    pub read: u64,
    /// Bytes of lines that never came back.
    pub lost: u64,
    /// Bytes of lines that came back more than once.
    pub repeated: u64,
    /// Bytes that belong to no line ever sent.
    pub corrupt: u64,
}

/// What became of the pages that the GPU works on, since the last answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Pages there are, in guest memory and VRAM. Each was looked at.
    pub pages: u64,
    /// Looks at a page: those of the check, and one before each use in a command.
    pub looks: u64,
    /// Looks that found another value than the last that was written.
    pub lost: u64,
    /// Looks that found no such value, or a wrong checksum.
    pub corrupt: u64,
    /// What the first of them has found.
    pub first: Option<String>,
    /// Batches of commands since the start.
    pub batches: u64,
    /// Commands since the start, without the fences of batches.
    pub commands: u64,
}

/// Interrupts of a card in the hands of user space, since it was handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupts {
    /// Rounds that were finished.
    pub rounds: u64,
    /// Interrupts that the guest's driver has told user space of.
    pub told: u64,
    /// Interrupts that the guest's kernel has taken (`/proc/interrupts`).
    pub taken: u64,
    /// Interrupts that no driver has claimed (`unhandled` in `/proc/irq/N/spurious`).
    pub unclaimed: u64,
}

/// The UART registers a guest can read without changing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// Interrupt enable.
    pub ier: u8,
    /// Line control.
    pub lcr: u8,
    /// Modem control.
    pub mcr: u8,
    /// Scratch.
    pub scr: u8,
    /// Divisor latch.
    pub divisor: u16,
    /// Whether the identification register reports FIFOs.
    pub fifos: bool,
}
