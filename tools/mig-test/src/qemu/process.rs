// SPDX-License-Identifier: GPL-2.0
//! A QEMU process. Waits for it also end when it dies.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::patience::Deadline;

/// The timeout for any request to QEMU or the guest. It is long, because an emulated host is slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running QEMU. Its drop kills it.
pub struct Process {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    stderr: PathBuf,
}

impl Process {
    /// Starts a command with its standard error in a file.
    pub fn spawn(name: &str, command: &mut Command, stderr: &Path) -> Result<Process> {
        let log = File::create(stderr).with_context(|| format!("create {}", stderr.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        Ok(Process {
            name: name.to_owned(),
            child,
            pidfd,
            stderr: stderr.to_owned(),
        })
    }

    /// Waits until `fd` is readable, or closed by its peer.
    pub fn await_readable(&mut self, fd: BorrowedFd, what: &str, deadline: Deadline) -> Result<()> {
        loop {
            let Some(left) = deadline.remaining() else {
                bail!("{} in time", self.has_not_sent(what));
            };
            let mut fds = [
                PollFd::new(&fd, PollFlags::IN),
                PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN),
            ];
            poll(&mut fds, Some(&Timespec::try_from(left)?))?;
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            if !fds[1].revents().is_empty() {
                let status = self.child.wait()?;
                bail!("{} and has ended ({status})", self.has_not_sent(what));
            }
        }
    }

    /// Waits for the process to end.
    pub fn await_exit(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        while let Some(left) = deadline.remaining() {
            let mut fds = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
            if poll(&mut fds, Some(&Timespec::try_from(left)?))? > 0 {
                return Ok(self.child.wait()?);
            }
        }
        bail!(
            "{} (which printed: {}) has not ended in time",
            self.name,
            self.last_words()
        );
    }

    /// Returns what the process has written to its standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Returns the beginning of an error message about a missing event.
    pub fn has_not_sent(&self, what: &str) -> String {
        format!(
            "{} (which printed: {}) has not sent {what}",
            self.name,
            self.last_words()
        )
    }

    fn last_words(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(4)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
