// SPDX-License-Identifier: GPL-2.0
//! A socket that QEMU connects to, read line by line.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use anyhow::{bail, Context, Result};

use super::process::Process;
use crate::patience::Deadline;

/// The end of a QEMU character device.
///
/// A thread reads it continuously, because a guest that writes to a full socket blocks QEMU.
pub struct Channel {
    stream: UnixStream,
    chunks: Receiver<Vec<u8>>,
    pending: Vec<u8>,
}

impl Channel {
    /// Opens the socket, before QEMU starts, so that polling is not needed.
    pub fn listen(path: &Path) -> Result<UnixListener> {
        // A former QEMU of the same name has left its socket.
        let _ = fs::remove_file(path);
        UnixListener::bind(path).with_context(|| format!("listen at {}", path.display()))
    }

    /// Accepts QEMU's connection.
    pub fn accept(
        listener: UnixListener,
        process: &mut Process,
        deadline: Deadline,
    ) -> Result<Channel> {
        process.await_readable(listener.as_fd(), "its connection", deadline)?;
        let (stream, _) = listener.accept()?;
        let mut reader = stream.try_clone()?;
        let (sender, chunks) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with QEMU, or when nobody listens any more.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Channel {
            stream,
            chunks,
            pending: Vec::new(),
        })
    }

    /// Returns the next line, without its end. After the deadline it returns an error, even if
    /// there are lines: a QEMU whose migration does not converge reports each pass.
    pub fn line(
        &mut self,
        process: &mut Process,
        what: &str,
        deadline: Deadline,
    ) -> Result<String> {
        loop {
            let Some(left) = deadline.remaining() else {
                bail!("{} in time", process.has_not_sent(what));
            };
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.pending.extend(chunk),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = process.await_exit(deadline)?;
                    bail!("{} and has ended ({status})", process.has_not_sent(what));
                }
            }
        }
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) -> Result<()> {
        Ok(self.stream.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Returns everything up to the peer's end that was not read as a line.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.pending.extend(self.chunks.iter().flatten());
        std::mem::take(&mut self.pending)
    }

    /// Puts bytes before the unread ones.
    pub fn prepend(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.pending);
        self.pending = bytes;
    }
}
