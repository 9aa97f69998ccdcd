// SPDX-License-Identifier: GPL-2.0
//! The messages between `mig-guest` and `mig-test`.
//!
//! The guest prints `MIG-GUEST {json}` lines on the debug console, which its firmware also uses. It
//! receives one-line commands over its serial port.

use serde::{Deserialize, Serialize};

/// The prefix of the guest program's lines on the debug console.
pub const PREFIX: &str = "MIG-GUEST ";

/// A message of the guest program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Message {
    /// The cards are set up, and the serial card's data flows. Holds its initial registers, before
    /// the program changed them.
    Ready {
        /// Registers of each port as found.
        found: Vec<Registers>,
    },
    /// Sent regularly, after a number of lines.
    Progress(Vec<Counters>),
    /// Answer to `report`.
    Report {
        /// The number of the command, so that an old answer is not mistaken for a new one.
        number: u32,
        /// What each port has sent and received.
        counters: Vec<Counters>,
    },
    /// Answer to `pause` and `release`: nothing is in flight.
    Paused(Vec<Counters>),
    /// Answer to `registers`.
    Registers(Vec<Registers>),
    /// Answer to `hold`: the bytes that are unread in the card.
    Held {
        /// Bytes in the FIFO of each port.
        bytes: usize,
    },
    /// Something awaited has not come for a long time by the guest's clock, which also counts the
    /// time in which the machine is not allowed to run. So this is a hint; it is repeated.
    Stalled {
        /// The guest's interrupts, which help to explain it.
        state: String,
        /// What is awaited. The same text means that there was no progress.
        what: String,
    },
    /// Answer to `gpu batches` and `gpu renew`: the number of batches given to the GPU.
    Batches {
        /// Since the start.
        batches: u64,
    },
    /// Answer to `gpu check`.
    Checked(Checked),
    /// Answer to `gpu draw`: the picture was drawn.
    Drawn {
        /// Its number.
        number: u32,
    },
    /// Answer to `intx rounds`, `intx raise` and `intx finish`.
    Interrupts(Interrupts),
    /// A line that the author's program has printed.
    Line {
        /// Without its end.
        text: String,
    },
    /// Messages of the guest's kernel since the guest program started.
    Kernel {
        /// In their order.
        lines: Vec<String>,
    },
    /// The author's program has ended.
    Ended {
        /// Its exit status, as a sentence has it.
        status: String,
    },
    /// Something failed; the program continues if it can.
    Fault {
        /// What failed, and why.
        text: String,
    },
}

/// What a port has sent and received. `lost`, `repeated` and `corrupt` are in bytes, of lines that
/// were never received, received twice, or received damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Lines received complete and in order.
    pub lines: u64,
    /// Bytes written to the tty.
    pub written: u64,
    /// Bytes received.
    pub read: u64,
    /// Bytes of lines that were never received.
    pub lost: u64,
    /// Bytes of lines that were received more than once.
    pub repeated: u64,
    /// Bytes that belong to no sent line.
    pub corrupt: u64,
}

/// The results for the pages that the GPU works on, since the last answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The number of pages in guest memory and VRAM. Each was checked.
    pub pages: u64,
    /// Checks of pages: those of this command, and one before each use of a page in a command.
    pub looks: u64,
    /// Checks that found an older value than the last one written.
    pub lost: u64,
    /// Checks that found no such value, or a wrong checksum.
    pub corrupt: u64,
    /// The first finding.
    pub first: Option<String>,
    /// Batches of commands since the start.
    pub batches: u64,
    /// Commands since the start, without the fences of batches.
    pub commands: u64,
}

/// Interrupts of a card that user space drives, since it took the card over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupts {
    /// Rounds that were finished.
    pub rounds: u64,
    /// Interrupts of which the guest's driver has told user space.
    pub told: u64,
    /// Interrupts that the guest's kernel has taken (`/proc/interrupts`).
    pub taken: u64,
    /// Interrupts that no driver has claimed (`unhandled` in `/proc/irq/N/spurious`).
    pub unclaimed: u64,
}

/// The UART registers that a guest can read without side effects.
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
