// SPDX-License-Identifier: GPL-2.0
//! A proxy in the middle of a migration: forwards bytes between two sockets, and changes or cuts
//! the stream at a place that a pattern marks.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::{anyhow, Result};
use memchr::memmem::Finder;

use super::channel::Channel;

/// A change of the stream at an offset from the beginning of the pattern.
#[derive(Debug, Clone)]
pub enum Change {
    /// These bytes replace those of the stream.
    Replace(u64, Vec<u8>),
    /// This byte is inverted.
    Invert(u64),
    /// Both connections are closed here.
    Cut(u64),
}

/// A running proxy.
pub struct Proxy {
    thread: JoinHandle<bool>,
}

impl Proxy {
    /// Listens at `here` for one source; connects to the destination at `there`.
    pub fn start(here: &Path, there: &Path, pattern: Vec<u8>, change: Change) -> Result<Proxy> {
        let listener = Channel::listen(here)?;
        let there = there.to_owned();
        let thread =
            thread::spawn(move || relay(&listener, &there, pattern, change).unwrap_or(false));
        Ok(Proxy { thread })
    }

    /// Waits for the end of the connection; returns whether the change was made.
    pub fn finish(self) -> Result<bool> {
        self.thread
            .join()
            .map_err(|_| anyhow!("the proxy panicked"))
    }
}

fn relay(
    listener: &UnixListener,
    there: &Path,
    pattern: Vec<u8>,
    change: Change,
) -> std::io::Result<bool> {
    let (mut source, _) = listener.accept()?;
    let mut destination = UnixStream::connect(there)?;
    let (back_from, back_to) = (destination.try_clone()?, source.try_clone()?);
    let back = thread::spawn(move || copy_back(back_from, back_to));
    let mut editor = Editor::new(&pattern, change);
    let mut bytes = vec![0; 1 << 16];
    loop {
        let count = match source.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let (out, cut) = editor.pass(&bytes[..count]);
        if destination.write_all(&out).is_err() || cut {
            break;
        }
    }
    let _ = destination.write_all(&editor.rest());
    // Either may be gone already.
    let _ = destination.shutdown(Shutdown::Both);
    let _ = source.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(editor.done)
}

/// Forwards the return path unchanged. Its end also ends the other direction.
fn copy_back(mut from: UnixStream, mut to: UnixStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Finds the pattern in a stream that arrives in pieces, and makes the change after it.
struct Editor {
    pattern: Finder<'static>,
    change: Change,
    /// The end of the stream so far, if it may be the beginning of the pattern.
    held: Vec<u8>,
    /// The number of bytes since the beginning of the pattern.
    passed: Option<u64>,
    done: bool,
}

impl Editor {
    fn new(pattern: &[u8], change: Change) -> Editor {
        Editor {
            pattern: Finder::new(pattern).into_owned(),
            change,
            held: Vec::new(),
            passed: None,
            done: false,
        }
    }

    /// Returns the bytes of a piece to forward, and whether the connection ends after them.
    fn pass(&mut self, piece: &[u8]) -> (Vec<u8>, bool) {
        let mut data = std::mem::take(&mut self.held);
        data.extend_from_slice(piece);
        let start = match self.passed {
            Some(_) => 0,
            None => match self.pattern.find(&data) {
                Some(start) => {
                    self.passed = Some(0);
                    start
                }
                None => {
                    let pattern = self.pattern.needle();
                    let most = pattern.len().min(data.len() + 1) - 1;
                    let begins = |length: &usize| data.ends_with(&pattern[..*length]);
                    let length = (1..=most).rev().find(begins).unwrap_or(0);
                    self.held = data.split_off(data.len() - length);
                    return (data, false);
                }
            },
        };
        let cut = self.apply(&mut data, start);
        (data, cut)
    }

    fn apply(&mut self, data: &mut Vec<u8>, start: usize) -> bool {
        let from = self.passed.unwrap_or(0);
        let until = from + (data.len() - start) as u64;
        self.passed = Some(until);
        let index = |at: u64| {
            (from..until)
                .contains(&at)
                .then(|| start + (at - from) as usize)
        };
        match &self.change {
            Change::Replace(at, bytes) => {
                for (at, byte) in (*at..).zip(bytes) {
                    if let Some(index) = index(at) {
                        data[index] = *byte;
                        self.done = true;
                    }
                }
            }
            Change::Invert(at) => {
                if let Some(index) = index(*at) {
                    data[index] ^= 0xff;
                    self.done = true;
                }
            }
            Change::Cut(at) => {
                if let Some(index) = index(*at) {
                    data.truncate(index);
                    self.done = true;
                    return true;
                }
            }
        }
        false
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(change: Change, size: usize) -> (Vec<u8>, bool) {
        let mut editor = Editor::new(b"MARK", change);
        let mut all = Vec::new();
        for piece in b"..MAMARK1234MARK5678MA".chunks(size) {
            let (out, cut) = editor.pass(piece);
            all.extend(out);
            if cut {
                break;
            }
        }
        all.extend(editor.rest());
        (all, editor.done)
    }

    #[test]
    fn the_change_is_made_behind_the_first_mark_however_the_stream_is_cut() {
        for size in 1..23 {
            let (out, done) = through(Change::Replace(5, b"xy".to_vec()), size);
            assert_eq!(
                (out.as_slice(), done),
                (&b"..MAMARK1xy4MARK5678MA"[..], true),
                "{size}"
            );
            let (out, done) = through(Change::Invert(4), size);
            assert_eq!((out[8], out.len(), done), (!b'1', 22, true), "{size}");
        }
    }

    #[test]
    fn nothing_passes_the_cut() {
        for size in 1..23 {
            assert_eq!(
                through(Change::Cut(6), size),
                (b"..MAMARK12".to_vec(), true),
                "{size}"
            );
        }
    }

    #[test]
    fn a_stream_without_the_mark_passes_whole() {
        let mut editor = Editor::new(b"NONE", Change::Cut(0));
        let (mut out, cut) = editor.pass(b"abcNON");
        out.extend(editor.rest());
        assert_eq!(
            (out.as_slice(), cut, editor.done),
            (&b"abcNON"[..], false, false)
        );
    }
}
