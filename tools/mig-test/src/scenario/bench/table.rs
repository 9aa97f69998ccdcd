// SPDX-License-Identifier: GPL-2.0
//! Every benchmark, in the order in which `mig-test bench` runs them.

use super::{dirty, live_pins, pin, registers, vram, window};
use crate::lab::apart::TESTS;
use crate::scenario::entry::plain;
use crate::scenario::Scenario;

/// The benchmarks.
pub const ALL: &[Scenario] = &[
    plain(
        "bench-regs",
        "instructions of each register access, through mtty_rs and mainline's mtty",
        5,
        registers::run,
    ),
    plain(
        "bench-pin",
        "instructions to pin, write and unpin guest memory, through the SDK and without",
        5,
        pin::run,
    )
    .loading(&[TESTS]),
    plain(
        "bench-live-pins",
        "instructions to pin, unpin, report and unmap beside 1,000 and 30,000 other pins",
        5,
        live_pins::run,
    )
    .loading(&[TESTS]),
    plain(
        "bench-dirty",
        "pages reported for each page written, with selective pins and with all of memory pinned",
        3,
        dirty::run,
    )
    .loading(&[TESTS]),
    plain(
        "bench-vram",
        "speed at which VRAM leaves, beside a memfd's, and what PRE_COPY leaves to stop for",
        5,
        vram::run,
    ),
    plain(
        "bench-window",
        "protocol v1's window, mapped and trapped, beside v2's data file",
        5,
        window::run,
    ),
];
