// SPDX-License-Identifier: GPL-2.0

//! PCI functions as parents: hardware that a driver shares between mdevs.
//!
//! | in | is |
//! |---|---|
//! | `registration`, `module` | the driver of the functions, and a module made of it |
//! | `function` | a function while it is probed: what its driver can ask of it |
//! | `bar`, `interrupt`, `buffer` | its registers, its interrupt, host memory that it reaches |
//!
//! This layer knows `mdev`, whose parents the functions are, and `base`. All that a driver gets of
//! a function ends with the function's binding, whatever the driver does with it: after the mdevs.
//! Guest memory for the hardware is in `memory`.

mod bar;
mod buffer;
mod function;
mod interrupt;
mod module;
mod registration;

pub use bar::ParentBar;
pub use buffer::DmaBuffer;
pub use function::PciFunction;
pub use registration::{PciDriver, PciId, PciRegistration};
