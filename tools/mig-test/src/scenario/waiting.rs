// SPDX-License-Identifier: GPL-2.0
//! Waiting for what the kernel has no event for, such as another thread's wait in it.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustix::thread::Pid;

use crate::patience;

/// Returns once `thread` waits inside of an ioctl: true; or false if it does not within `at_most`.
pub fn in_ioctl(thread: Pid, at_most: Duration) -> bool {
    in_call(thread, "16 ", at_most)
}

/// The same inside of a pwrite.
pub fn in_write(thread: Pid, at_most: Duration) -> bool {
    in_call(thread, "18 ", at_most)
}

/// `call` is how /proc shows it: by its number on x86-64.
fn in_call(thread: Pid, call: &str, at_most: Duration) -> bool {
    let file = format!("/proc/self/task/{}/syscall", thread.as_raw_nonzero());
    let waits = || fs::read_to_string(&file).is_ok_and(|text| text.starts_with(call));
    until(at_most, || Ok(waits())).is_ok_and(|waits| waits)
}

/// Looks again and again until something `is_so`, and returns whether it is within `at_most`.
pub fn until(at_most: Duration, is_so: impl Fn() -> Result<bool>) -> Result<bool> {
    let deadline = patience::until(at_most);
    loop {
        // Before the look: this thread may sleep between the two.
        let is_last = deadline.is_over();
        if is_so()? {
            return Ok(true);
        }
        if is_last {
            return Ok(false);
        }
        thread::yield_now();
    }
}
