// SPDX-License-Identifier: GPL-2.0
//! The fuzzer's program of the target.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mdev_fuzz::run("exercise", data));
