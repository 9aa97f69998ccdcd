// SPDX-License-Identifier: GPL-2.0
//! The guest's consoles: messages from `mig-guest`, and commands to it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use mig_common::message::{Checked, Counters, Interrupts, Message, Registers, PREFIX};

use super::channel::Channel;
use super::process::{Process, PATIENCE};
use crate::patience::{self, Deadline};

/// The guest behind a VM's consoles.
pub struct Console {
    messages: Channel,
    commands: Channel,
    /// The output of the guest's kernel, kept to explain a failure.
    log: PathBuf,
    /// The number of reports requested so far.
    asked: u32,
    stalls: Stalls,
    /// What the guest has said of its state at the last stall.
    stalled: String,
}

impl Console {
    /// Wraps the channel of the debug console, that of the serial port, and the latter's log.
    pub fn new(messages: Channel, commands: Channel, log: PathBuf) -> Console {
        Console {
            messages,
            commands,
            log,
            asked: 0,
            stalls: Stalls::default(),
            stalled: String::new(),
        }
    }

    /// Continues the console of the source, which has ended, possibly in the middle of a line.
    pub fn continue_from(&mut self, former: &mut Console) {
        self.asked = former.asked;
        self.messages.prepend(former.messages.take_rest());
    }

    /// Returns the next message of the guest program.
    pub fn message(
        &mut self,
        process: &mut Process,
        what: &str,
        deadline: Deadline,
    ) -> Result<Message> {
        loop {
            let line = self
                .messages
                .line(process, what, deadline)
                .with_context(|| {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    let lines: Vec<&str> = log.lines().collect();
                    let last = lines[lines.len().saturating_sub(4)..].join(" | ");
                    format!("the guest's kernel said last: {last}")
                })?;
            match parse(&line)? {
                Some(Message::Stalled { what, state }) => {
                    self.stalled = state;
                    self.stalls.judge(what)?;
                }
                Some(message) => return Ok(message),
                None => {}
            }
        }
    }

    /// Returns the messages that the guest sent before it left this VM, which has ended. A line
    /// that it continues elsewhere stays.
    pub fn last_messages(&mut self) -> Result<Vec<Message>> {
        let rest = self.messages.take_rest();
        let end = rest.iter().rposition(|&byte| byte == b'\n');
        let (lines, begun) = rest.split_at(end.map_or(0, |end| end + 1));
        self.messages.prepend(begun.to_vec());
        let lines = String::from_utf8_lossy(lines);
        lines
            .lines()
            .filter_map(|line| parse(line).transpose())
            .filter(|message| !matches!(message, Ok(Message::Stalled { .. })))
            .collect()
    }

    /// Skips messages until `pick` accepts one.
    pub fn await_message<T>(
        &mut self,
        process: &mut Process,
        what: &str,
        mut pick: impl FnMut(Message) -> Option<T>,
    ) -> Result<T> {
        let deadline = patience::until(PATIENCE);
        loop {
            if let Some(found) = pick(self.message(process, what, deadline)?) {
                return Ok(found);
            }
        }
    }

    /// Waits until the guest has booted; returns the initial registers.
    pub fn await_ready(&mut self, process: &mut Process) -> Result<Vec<Registers>> {
        self.await_message(process, "READY", |message| match message {
            Message::Ready { found } => Some(found),
            _ => None,
        })
    }

    /// Has the guest check the configuration space of its card.
    pub fn config(&mut self, process: &mut Process) -> Result<()> {
        self.tell("config")?;
        self.await_ready(process).map(drop)
    }

    /// Requests a report; returns the number of its answer.
    pub fn ask(&mut self) -> Result<u32> {
        self.asked += 1;
        self.tell(&format!("report {}", self.asked))?;
        Ok(self.asked)
    }

    /// Returns what each port has sent and received so far.
    pub fn report(&mut self, process: &mut Process) -> Result<Vec<Counters>> {
        let asked = self.ask()?;
        self.await_message(process, "REPORT", |message| match message {
            Message::Report { number, counters } if number == asked => Some(counters),
            _ => None,
        })
    }

    /// Waits until every port has received `more` further lines.
    pub fn await_lines(&mut self, process: &mut Process, more: u64) -> Result<Vec<Counters>> {
        let now = self.report(process)?;
        self.await_message(process, "further lines", |message| match message {
            Message::Progress(counters) => {
                let mut ports = counters.iter().zip(&now);
                let reached = ports.all(|(port, then)| port.lines >= then.lines + more);
                reached.then_some(counters)
            }
            _ => None,
        })
    }

    /// Stops sending, and waits for everything in flight.
    pub fn pause(&mut self, process: &mut Process) -> Result<Vec<Counters>> {
        self.tell("pause")?;
        self.await_paused(process)
    }

    /// Waits for the guest to have nothing in flight.
    pub fn await_paused(&mut self, process: &mut Process) -> Result<Vec<Counters>> {
        self.await_message(process, "PAUSED", |message| match message {
            Message::Paused(counters) => Some(counters),
            _ => None,
        })
    }

    /// Reads the registers of a paused guest's ports.
    pub fn registers(&mut self, process: &mut Process) -> Result<Vec<Registers>> {
        self.tell("registers")?;
        self.await_message(process, "REGISTERS", |message| match message {
            Message::Registers(registers) => Some(registers),
            _ => None,
        })
    }

    /// Leaves bytes unread in a paused guest's card.
    pub fn hold(&mut self, process: &mut Process, bytes: usize) -> Result<()> {
        self.tell(&format!("hold {bytes}"))?;
        self.await_message(process, "HELD", |message| {
            matches!(message, Message::Held { .. }).then_some(())
        })
    }

    /// Starts continuous work of the GPU from a seed.
    pub fn gpu_work(&mut self, seed: u64) -> Result<()> {
        self.tell(&format!("gpu work {seed}"))
    }

    /// Waits until the working GPU has got a number of further batches of commands.
    pub fn gpu_batches(&mut self, process: &mut Process, more: u64) -> Result<()> {
        self.tell(&format!("gpu batches {more}"))?;
        self.await_message(process, "BATCHES", |message| {
            matches!(message, Message::Batches { .. }).then_some(())
        })
    }

    /// Waits until the guest's IOMMU has unmapped all memory from the working GPU, after a number
    /// of batches each time.
    pub fn gpu_renew(&mut self, process: &mut Process, times: u64) -> Result<()> {
        self.tell(&format!("gpu renew {times}"))?;
        self.await_message(process, "BATCHES", |message| {
            matches!(message, Message::Batches { .. }).then_some(())
        })
    }

    /// Makes the guest check everything that the GPU has written.
    pub fn gpu_check(&mut self, process: &mut Process) -> Result<Checked> {
        self.tell("gpu check")?;
        self.await_message(process, "CHECKED", |message| match message {
            Message::Checked(checked) => Some(checked),
            _ => None,
        })
    }

    /// Makes the GPU draw a picture.
    pub fn gpu_draw(&mut self, process: &mut Process, number: u32) -> Result<()> {
        self.tell(&format!("gpu draw {number}"))?;
        self.await_message(process, "DRAWN", |message| {
            (message == Message::Drawn { number }).then_some(())
        })
    }

    /// Sends an order to the program that drives a card, and waits for its answer.
    pub fn intx(&mut self, process: &mut Process, order: &str) -> Result<Interrupts> {
        self.tell(&format!("intx {order}"))?;
        self.await_message(process, "INTERRUPTS", |message| match message {
            Message::Interrupts(interrupts) => Some(interrupts),
            _ => None,
        })
    }

    /// Returns what the guest's kernel has printed.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns what the guest has said of its state at the last stall, if there was one.
    pub fn stalled(&self) -> &str {
        &self.stalled
    }

    /// Sends a command to the guest program.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        self.commands.send(command)
    }
}

/// Time from a first report of a stall to a later one without progress between, after which it is a
/// failure.
const STALLED: Duration = Duration::from_secs(20);

/// The stalls that the guest has reported by its own clock, judged by this machine's
/// ([`patience`]): a guest that is not allowed to run has nothing to be blamed for.
#[derive(Default)]
struct Stalls(HashMap<String, Deadline>);

impl Stalls {
    /// Takes a report of a stall. It is an error if the same one was reported long ago.
    fn judge(&mut self, what: String) -> Result<()> {
        match self.0.get(&what) {
            Some(deadline) if deadline.is_over() => {
                bail!("the guest waits in vain for {what}")
            }
            Some(_) => {}
            None => {
                self.0.insert(what, patience::until(STALLED));
            }
        }
        Ok(())
    }
}

/// Returns the message in a line of the debug console, unless it is the firmware's. A fault is an
/// error.
fn parse(line: &str) -> Result<Option<Message>> {
    let Some((_, json)) = line.split_once(PREFIX) else {
        return Ok(None);
    };
    let message = serde_json::from_str(json)
        .with_context(|| format!("unreadable message of the guest: {line}"))?;
    match message {
        Message::Fault { text } => bail!("the guest reports a fault: {text}"),
        message => Ok(Some(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_in_vain(stalls: &mut Stalls, what: &str) -> bool {
        stalls.judge(what.into()).is_err()
    }

    #[test]
    fn a_stall_fails_only_when_it_is_reported_again_after_a_time_in_which_the_vm_could_run() {
        let mut stalls = Stalls::default();
        assert!(!wait_in_vain(&mut stalls, "line 7"));
        assert!(!wait_in_vain(&mut stalls, "line 7"), "at once again");
        let passed = patience::until(Duration::ZERO);
        stalls.0.insert("line 7".into(), passed);
        assert!(!wait_in_vain(&mut stalls, "line 8"), "progress between");
        assert!(wait_in_vain(&mut stalls, "line 7"));
    }

    #[test]
    fn a_report_of_a_stall_is_read() {
        let line = format!(r#"{PREFIX}{{"STALLED":{{"state":"","what":"fence 3"}}}}"#);
        let (what, state) = ("fence 3".to_owned(), String::new());
        let stalled = Message::Stalled { state, what };
        assert_eq!(parse(&line).unwrap(), Some(stalled));
    }
}
