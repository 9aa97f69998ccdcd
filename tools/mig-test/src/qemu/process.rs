// SPDX-License-Identifier: GPL-2.0
//! A QEMU process. Waits for it also end when it dies, or when KVM cannot go on with its guest.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::inotify;
use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};

use crate::patience::Deadline;

/// The timeout for any request to QEMU or the guest. It is long, because an emulated host is slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What QEMU prints when KVM gives its guest up. It then stops, and the guest with it.
const GIVEN_UP: &str = "KVM internal error";

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
        let process = Process {
            name: name.to_owned(),
            child,
            pidfd,
            stderr: stderr.to_owned(),
        };
        process.end_when_given_up()?;
        Ok(process)
    }

    /// Ends the process when it prints that its guest was given up, so that nothing waits for it.
    fn end_when_given_up(&self) -> Result<()> {
        let pidfd = self.pidfd.try_clone()?;
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&changes, &self.stderr, inotify::WatchFlags::MODIFY)?;
        let stderr = self.stderr.clone();
        thread::spawn(move || loop {
            if fs::read_to_string(&stderr).is_ok_and(|text| text.contains(GIVEN_UP)) {
                // It fails if the process has ended.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                return;
            }
            let mut fds = [
                PollFd::new(&changes, PollFlags::IN),
                PollFd::new(&pidfd, PollFlags::IN),
            ];
            if poll(&mut fds, None).is_err() || !fds[1].revents().is_empty() {
                return;
            }
            if rustix::io::read(&changes, &mut [0; 4096]).is_err() {
                return;
            }
        });
        Ok(())
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

    /// Kills the process. Its end must be waited for.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
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
        let given_up = lines.iter().position(|line| line.contains(GIVEN_UP));
        let first = given_up.unwrap_or(lines.len().saturating_sub(4));
        let last = lines.len().min(first + 4);
        lines[first..last].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience;

    #[test]
    fn a_process_whose_guest_was_given_up_ends_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "echo 'KVM internal error. Suberror: 3' >&2; exec sleep 600",
        ]);
        let stderr = folder.path().join("stderr");
        let mut process = Process::spawn("source", &mut shell, &stderr).unwrap();
        process.await_exit(patience::until(PATIENCE)).unwrap();
        let error = process.has_not_sent("READY");
        assert!(error.contains("KVM internal error. Suberror: 3"), "{error}");
    }
}
