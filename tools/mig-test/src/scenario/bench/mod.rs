// SPDX-License-Identifier: GPL-2.0
//! Benchmarks: figures, each compared with that of a peer in the same VM, with a bound.
//!
//! The lab runs these scenarios under `-icount shift=0`, where one instruction takes one nanosecond
//! of the VM's time: elapsed nanoseconds are instructions, and equal in every run. Without it they
//! are real nanoseconds, and the ratios are those of this machine.

mod card;
mod clock;
mod dirty;
mod live_pins;
mod pin;
mod registers;
mod table;
mod vram;
mod window;

pub use table::ALL;
