// SPDX-License-Identifier: GPL-2.0
//! Whether another thread of this process waits in the kernel. There is no event for that.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::thread::Pid;

use crate::patience;

/// How /proc shows a thread that waits inside of an ioctl, by its number on x86-64.
const IN_IOCTL: &str = "16 ";

/// Returns once `thread` waits inside of an ioctl: true; or false if it does not within `at_most`.
pub fn in_ioctl(thread: Pid, at_most: Duration) -> bool {
    let file = format!("/proc/self/task/{}/syscall", thread.as_raw_nonzero());
    let waits = || fs::read_to_string(&file).is_ok_and(|text| text.starts_with(IN_IOCTL));
    let deadline = patience::until(at_most);
    while !waits() {
        if deadline.is_over() {
            return false;
        }
        thread::yield_now();
    }
    true
}
