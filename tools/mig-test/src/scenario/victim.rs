// SPDX-License-Identifier: GPL-2.0
//! A process of this program that a scenario kills, and the device that it leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::mdev::Mdev;
use crate::patience;
use crate::vfio::device::Device;
use crate::vfio::migration::State;

/// The timeout for a killed process to exit.
const PATIENCE: Duration = Duration::from_secs(10);
/// The number of the signal that kills.
const SIGKILL: i32 = 9;

/// A process, killed when dropped.
pub struct Victim {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts a command of this program; returns the process and the first line that it prints,
    /// without which it has failed.
    pub fn start<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<(Victim, String)> {
        let mut child = Command::new("/proc/self/exe")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a process")?;
        let output = child.stdout.take().context("its output")?;
        let output = BufReader::new(output);
        let mut victim = Victim { child, output };
        let mut line = String::new();
        if victim.output.read_line(&mut line)? == 0 {
            bail!("it prints nothing: {}", victim.errors()?);
        }
        Ok((victim, line.trim().to_owned()))
    }

    /// Kills it, waits for its exit, and returns what else it has printed. Fails if it takes too
    /// long, or has ended by itself before.
    pub fn kill(mut self) -> Result<String> {
        let pid = Pid::from_child(&self.child);
        let file = pidfd_open(pid, PidfdFlags::empty())?;
        self.child.kill()?;
        let timeout = Timespec::try_from(patience::of(PATIENCE))?;
        poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&timeout))?;
        let status = self.child.try_wait()?;
        let status = status.with_context(|| {
            format!(
                "it has not gone {PATIENCE:?} after it was killed: {}",
                stuck(pid)
            )
        })?;
        let is_killed = status.signal() == Some(SIGKILL);
        ensure!(
            is_killed,
            "it has ended by itself: {status}: {}",
            self.errors()?
        );
        let mut printed = String::new();
        self.output.read_to_string(&mut printed)?;
        Ok(printed)
    }

    /// Returns what it has said of an error, once it has ended.
    fn errors(&mut self) -> Result<String> {
        let mut said = String::new();
        let errors = self.child.stderr.take().context("its errors")?;
        errors.take(4096).read_to_string(&mut said)?;
        Ok(said)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Without a wait: one that is stuck in the kernel would keep the reason from being told.
        let _ = self.child.kill();
    }
}

/// Opens a device whose user was killed, which must be in RUNNING.
pub fn open_at_once(mdev: &Mdev) -> Result<Device> {
    let device = Device::open(mdev.path()).context("open it at once")?;
    let state = device.state()?;
    ensure!(state == State::Running, "it is in {state:?}");
    Ok(device)
}

/// Returns what the threads of a process wait for.
fn stuck(pid: Pid) -> String {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let stack = |path: &Path| fs::read_to_string(path.join("stack")).unwrap_or_default();
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
    let stacks: Vec<String> = entries.map(|entry| stack(&entry.path())).collect();
    stacks.join("\n")
}
