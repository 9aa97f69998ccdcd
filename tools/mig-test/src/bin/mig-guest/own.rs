// SPDX-License-Identifier: GPL-2.0
//! A driver author's modules and program in the guest: loads the modules, starts the program, and
//! passes on what the program and the kernel print.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mig_common::message::Message;
use mig_common::modules::{OWN, PROGRAM};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::{fcntl_setfl, OFlags, SeekFrom};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::system::finit_module;

use crate::console::DebugConsole;

/// The largest record of `/dev/kmsg`, with room to spare.
const RECORD: usize = 8192;
/// The capacity of a pipe (pipe(7)).
const PIPE: usize = 1 << 16;

/// The author's part of the guest, with its modules loaded.
pub struct Own {
    log: Log,
}

impl Own {
    /// Loads the modules.
    pub fn load() -> io::Result<Own> {
        let mut log = Log::open()?;
        for module in fs::read_to_string(Path::new("/").join(OWN))?.lines() {
            let loaded = File::open(Path::new("/").join(module))
                .and_then(|file| Ok(finit_module(file, c"", 0)?));
            if let Err(error) = loaded {
                let said = log.take()?.join(" | ");
                return Err(io::Error::other(format!(
                    "the guest module {module} does not load: {error}; the guest's kernel said: {said}"
                )));
            }
        }
        Ok(Own { log })
    }

    /// Starts the program, if there is one, and passes on all output from now on.
    pub fn start(self, console: &Arc<DebugConsole>) -> io::Result<Running> {
        let to = console.clone();
        let waiting = self.log.0.try_clone()?;
        let log = Arc::new(Mutex::new(self.log));
        let of_kernel = log.clone();
        thread::spawn(move || {
            let result = until_end(&waiting, || hold(&of_kernel).pass_on(&to));
            if let Err(error) = result {
                let _ = to.complain("the guest's kernel log", &error);
            }
        });
        let program = Path::new("/").join(PROGRAM);
        let output = match program.exists() {
            true => Some(run(&program, console.clone())?),
            false => None,
        };
        Ok(Running {
            console: console.clone(),
            log,
            output,
        })
    }
}

/// The author's part of the guest, running.
pub struct Running {
    console: Arc<DebugConsole>,
    log: Arc<Mutex<Log>>,
    output: Option<Arc<Mutex<Output>>>,
}

impl Running {
    /// Passes on everything that the program and the kernel have printed so far.
    pub fn settle(&self) -> io::Result<()> {
        hold(&self.log).pass_on(&self.console)?;
        if let Some(output) = &self.output {
            hold(output).pass_on(&self.console)?;
        }
        Ok(())
    }
}

/// Starts the program; returns its output, which a thread passes on.
fn run(program: &Path, to: Arc<DebugConsole>) -> io::Result<Arc<Mutex<Output>>> {
    // One pipe, so that both of its outputs arrive in order. Only the program has the other end,
    // so the output ends with it.
    let (pipe, end) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::from(end.try_clone()?))
        .stderr(Stdio::from(end))
        .spawn()
        .map_err(|error| io::Error::other(format!("the guest program does not start: {error}")))?;
    let waiting = File::from(pipe.try_clone()?);
    let output = Arc::new(Mutex::new(Output {
        pipe: File::from(pipe),
        begun: Vec::new(),
    }));
    let of_program = output.clone();
    thread::spawn(move || {
        let passed_on = until_end(&waiting, || hold(&of_program).pass_on(&to));
        let ended = child.wait().and_then(|status| {
            let status = status.to_string();
            to.say(&Message::Ended { status })
        });
        if let Err(error) = passed_on.and(ended) {
            let _ = to.complain("the guest program", &error);
        }
    });
    Ok(output)
}

fn hold<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `pass_on` whenever a file has something, until it says that there will be no more.
fn until_end(file: &File, mut pass_on: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    while pass_on()? {
        poll(&mut [PollFd::new(file, PollFlags::IN)], None)?;
    }
    Ok(())
}

/// The output of the program.
struct Output {
    pipe: File,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Output {
    /// Passes on the lines in the pipe. Returns whether there may be more.
    fn pass_on(&mut self, console: &DebugConsole) -> io::Result<bool> {
        // One read takes all that is in a pipe.
        let mut bytes = vec![0; PIPE];
        let count = match self.pipe.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            result => result?,
        };
        let mut rest = bytes[..count].split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = rest.next() {
            self.begun.extend_from_slice(piece);
            let ends = rest.peek().is_some() || count == 0 && !self.begun.is_empty();
            if ends {
                let text = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
                self.begun.clear();
                console.say(&Message::Line { text })?;
            }
        }
        Ok(count > 0)
    }
}

/// The kernel's log from a certain moment on.
struct Log(File);

impl Log {
    /// Starts with the next message.
    fn open() -> io::Result<Log> {
        let flags = OFlags::NONBLOCK.bits() as i32;
        let mut options = File::options();
        let file = options.read(true).custom_flags(flags).open("/dev/kmsg")?;
        rustix::fs::seek(&file, SeekFrom::End(0))?;
        Ok(Log(file))
    }

    /// Returns the messages since the last call.
    fn take(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut record = [0; RECORD];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => lines.extend(text(&record[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                // The ring has wrapped: the next read goes on with the oldest record that is left.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes on the messages since the last call.
    fn pass_on(&mut self, console: &DebugConsole) -> io::Result<bool> {
        let lines = self.take()?;
        if !lines.is_empty() {
            console.say(&Message::Kernel { lines })?;
        }
        Ok(true)
    }
}

/// Returns the message of a record `priority,sequence,time,flags;message`, unless user space wrote
/// it.
fn text(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, rest) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    (priority >> 3 == 0).then(|| rest.lines().next().unwrap_or_default().to_owned())
}
