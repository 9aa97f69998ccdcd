// SPDX-License-Identifier: GPL-2.0
//! Figures, each beside that of a peer in the same VM, and the bound that it has to keep.
//!
//! The lab runs these scenarios under `-icount shift=0`, where one instruction takes one nanosecond
//! of the VM's time: elapsed nanoseconds are instructions, and the same in every run. Without it
//! they are nanoseconds, and the ratios are those of this machine.

mod card;
mod clock;
pub mod dirty;
pub mod live_pins;
pub mod pin;
pub mod registers;
pub mod vram;
pub mod window;
