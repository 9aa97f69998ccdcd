// SPDX-License-Identifier: GPL-2.0
//! Fuzz targets: what guests, streams and users' files reach, each with an oracle of its own.
//!
//! A target is a function of bytes that panics when a rule is broken. `cargo fuzz` looks for such
//! bytes (Documentation/fuzzing.md); `cargo test` replays the corpora, which are in `corpus/`.

mod compat;
mod config_space;
mod device_model;
mod dirty_log;
mod exercise;
mod fixtures;
mod gpu;
mod input;
mod interrupts;
mod mainline_stream;
mod pages;
mod stream;
mod uart;
mod v1;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("compat", compat::run),
    ("config_space", config_space::run),
    ("device_model", device_model::run),
    ("dirty_log", dirty_log::run),
    ("exercise", exercise::run),
    ("gpu", gpu::run),
    ("gpu_state", gpu::run_state),
    ("interrupts", interrupts::run),
    ("mainline_stream", mainline_stream::run),
    ("pages", pages::run),
    ("payloads", compat::run_payloads),
    ("stream", stream::run),
    ("uart", uart::run),
    ("v1", v1::run),
];

/// Runs the target with this name.
///
/// # Panics
///
/// If there is none, or it finds a rule that is broken.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, run) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    run(data);
}
