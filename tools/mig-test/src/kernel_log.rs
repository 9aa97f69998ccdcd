// SPDX-License-Identifier: GPL-2.0
//! Reads the kernel log and finds messages that must never be in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Result;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::known_report;

/// Messages of a kernel that has a problem, with itself or a module, or has killed a program.
const COMPLAINTS: [&str; 23] = [
    "WARNING:",
    "BUG:",
    "BUG ",
    "Oops",
    "general protection",
    "segfault at",
    "refcount_t:",
    "UBSAN",
    "KASAN",
    "KCSAN",
    "KFENCE:",
    "kmemleak:",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "unable to handle",
    "unregister_netdevice",
    "blocked for more than",
    "rust_kernel: panicked",
    "kernel panic",
];
/// The text before the reason when a device has refused a stream. Not a complaint: the scenario may
/// expect it.
const REFUSED: &str = "mdev: incoming state refused: ";
/// The number of lines after a complaint that belong to it: the head of a call trace.
const CONTEXT: usize = 12;

/// The encoding of a line feed inside a message of a record.
const LINE_END: &str = "\\x0a";

/// The kernel log from a certain moment on.
pub struct KernelLog(File);

impl KernelLog {
    /// Starts with the next message.
    pub fn from_now() -> Result<Self> {
        let flags = OFlags::NONBLOCK.bits() as i32;
        let mut file = File::options()
            .read(true)
            .custom_flags(flags)
            .open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(KernelLog(file))
    }

    /// Returns the complaints since the last call, each with the lines that follow it.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        let mut messages = self.messages()?;
        known_report::remove(&mut messages);
        Ok(pick(&messages))
    }

    /// Returns the reasons for which devices have refused streams since the last call.
    pub fn refusals(&mut self) -> Result<BTreeSet<String>> {
        let messages = self.messages()?;
        let reasons = messages.iter().filter_map(|line| line.split_once(REFUSED));
        Ok(reasons.map(|(_, reason)| reason.to_owned()).collect())
    }

    /// Returns the lines with one of `words` in them since the last call, from there on.
    pub fn lines_with(&mut self, words: &[impl AsRef<str>]) -> Result<Vec<String>> {
        let messages = self.messages()?;
        let from = |line: &String| {
            let at = words.iter().find_map(|one| line.find(one.as_ref()))?;
            Some(line[at..].to_owned())
        };
        Ok(messages.iter().filter_map(from).collect())
    }

    fn messages(&mut self) -> Result<Vec<String>> {
        let mut messages = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => messages.extend(text(&record[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                // The ring has wrapped: the next read goes on with the oldest record that is left.
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Returns the lines of a record `priority,sequence,time,flags;message`, unless user space wrote
/// it.
fn text(record: &[u8]) -> Vec<String> {
    let record = String::from_utf8_lossy(record);
    let from_kernel = |head: &str| {
        let priority = head.split(',').next().and_then(|word| word.parse().ok());
        priority.is_some_and(|priority: u32| priority >> 3 == 0)
    };
    let message = match record.split_once(';') {
        // What follows the first line is about the message and not of it.
        Some((head, rest)) if from_kernel(head) => rest.lines().next().unwrap_or_default(),
        _ => return Vec::new(),
    };
    message.split(LINE_END).map(String::from).collect()
}

/// Returns the complaints among messages, each with the lines that follow it.
pub fn pick(messages: &[String]) -> Vec<String> {
    let mut left = 0;
    let mut picked = Vec::new();
    for message in messages {
        if is_complaint(message) {
            left = CONTEXT + 1;
        }
        if left > 0 {
            picked.push(message.clone());
            left -= 1;
        }
    }
    picked
}

/// Returns whether the message has one of the phrases at the beginning of a word: DEBUG is not BUG.
fn is_complaint(message: &str) -> bool {
    COMPLAINTS.iter().any(|complaint| {
        message
            .match_indices(complaint)
            .any(|(start, _)| !message[..start].ends_with(char::is_alphanumeric))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(messages: &[&str]) -> usize {
        pick(
            &messages
                .iter()
                .map(|message| message.to_string())
                .collect::<Vec<_>>(),
        )
        .len()
    }

    #[test]
    fn a_quiet_log_has_no_complaints() {
        let quiet = [
            "mtty_rs: loading out-of-tree module taints kernel.",
            "mtty_rs: module verification failed: signature and/or required key missing",
            "vfio_mdev 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001: Adding to iommu group 0",
            "DEBUG: nothing",
            "vfio_mdev 83b8f4f2: mdev: incoming state refused: the closing record has another checksum",
        ];
        assert_eq!(picked(&quiet), 0);
    }

    #[test]
    fn every_kind_of_complaint_is_noticed() {
        for line in [
            "WARNING: CPU: 0 PID: 1 at drivers/vfio/vfio_main.c:123",
            "BUG: unable to handle page fault for address: 0",
            "Oops: general protection fault, probably for non-canonical address",
            "refcount_t: underflow; use-after-free.",
            "UBSAN: array-index-out-of-bounds in x.c:1:2",
            "BUG: KASAN: slab-use-after-free in x",
            "WARNING: possible circular locking dependency detected",
            "INFO: task x:1 blocked for more than 120 seconds.",
            "qemu-system-x86[70]: segfault at 0 ip 0 sp 0 error 4 in qemu-system-x86_64",
            "BUG kmalloc-64 (Tainted: G): Redzone overwritten",
        ] {
            assert_eq!(picked(&[line]), 1, "{line}");
        }
    }

    #[test]
    fn the_trace_that_follows_is_shown_up_to_its_bound() {
        let mut log = vec!["WARNING: CPU: 0"];
        log.extend(["trace"; 40]);
        assert_eq!(picked(&log), CONTEXT + 1);
    }

    #[test]
    fn what_user_space_writes_to_the_log_is_not_the_kernels_complaint() {
        assert!(text(b"12,1,2,-;BUG: I say\n").is_empty());
        assert_eq!(text(b"4,1,2,-;BUG: I say\n SUBSYSTEM=x\n"), ["BUG: I say"]);
    }

    #[test]
    fn a_message_of_several_lines_is_read_as_such() {
        assert_eq!(text(br"4,1,2,-;\x0a-> #1 (lock):"), ["", "-> #1 (lock):"]);
    }
}
