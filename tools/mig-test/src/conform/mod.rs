// SPDX-License-Identifier: GPL-2.0
//! `mig-test conform`: checks that a VFIO device keeps every rule that a migration depends on, one
//! rule a check. Documentation/conformance.md describes it.
//!
//! | file | |
//! |---|---|
//! | `rule`, `rules`, `report`, `show` | the rules, the verdicts on them, and how they are printed |
//! | `explore` | what can be found out without one |
//! | `rig`, `snapshot`, `play` | a device that can work, what a guest sees of it, and its work |
//! | `suite`, `coverage` | a device in the suite, and what of it was exercised |
//! | `front`, `command` | the scenario, and the command in front of it |
//! | `way`, `transfer`, `transfer_v1` | the ways in which a device is moved |
//! | `records` | its stream, taken apart and changed |
//! | `log` | what the kernel logs of it |
//! | `resets`, `moves`, `promises`, `races`, `streams` | the checks |
//! | `mutants` | drivers with a defect each, which the suite must find |
//! | `mainline` | the kernel's sample in C, and what it violates |

pub mod command;
mod coverage;
mod explore;
mod front;
mod log;
pub mod mainline;
mod moves;
pub mod mutants;
mod play;
mod promises;
mod races;
mod records;
mod report;
mod resets;
mod rig;
mod rule;
mod rules;
mod show;
mod signals;
mod snapshot;
mod streams;
mod suite;
mod transfer;
mod transfer_v1;
mod way;

pub use front::{first_violation, run, FULL, NAME};
