// SPDX-License-Identifier: GPL-2.0
//! Listens to the program of a device's author in a guest: what it prints decides.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use mig_common::message::Message;
use regex_lite::Regex;

use super::bed::{ensure_quiet, Host};
use super::Ctx;
use crate::kernel_log;
use crate::patience;
use crate::qemu::process::PATIENCE;
use crate::qemu::vm::Vm;

/// The time for the guest to print what is waited for, if it is not silent.
const LONGEST: Duration = Duration::from_secs(300);
/// The number of lines of the guest that a failure shows.
const SHOWN: usize = 6;

/// Listens to the guest.
pub struct Listener {
    fail: Option<Regex>,
    /// Everything that the guest has said.
    pub said: Vec<String>,
    transcript: File,
    /// Whether the guest has made its last move, and everything that it said before was heard.
    pub has_moved: bool,
    /// What is a pass since then.
    ok: Option<Regex>,
    /// How often it has said that.
    passes: u32,
    /// The status of the guest program, if it has ended.
    ended: Option<String>,
}

impl Listener {
    /// Listens for what is a pass and what is a failure; a file of this name has all that is heard.
    pub fn new(
        ctx: &Ctx,
        transcript: &str,
        ok: Option<Regex>,
        fail: Option<Regex>,
    ) -> Result<Listener> {
        fs::create_dir_all(&ctx.dir)?;
        Ok(Listener {
            fail,
            said: Vec::new(),
            transcript: File::create(ctx.dir.join(transcript))?,
            has_moved: false,
            ok,
            passes: 0,
            ended: None,
        })
    }

    /// Follows the guest from a source that it has left to its destination: hears what it has said
    /// there, and requires that neither QEMU complains.
    pub fn follow(&mut self, source: &mut Host, destination: &mut Host) -> Result<()> {
        source.vm.quit()?;
        for message in source.vm.console().0.last_messages()? {
            self.hear(&message)?;
        }
        destination.vm.continue_console(&mut source.vm);
        ensure_quiet(source)?;
        ensure_quiet(destination)
    }

    /// Waits for words of the guest.
    pub fn await_words(&mut self, vm: &mut Vm, words: &Regex) -> Result<()> {
        let what = format!("\"{}\"", words.as_str());
        self.listen(vm, &what, |_, _, lines| {
            lines.iter().any(|line| words.is_match(line))
        })
    }

    /// Requires that the guest runs: it answers, after everything that it has said before.
    pub fn await_answer(&mut self, vm: &mut Vm) -> Result<()> {
        let asked = vm.console().0.ask()?;
        self.listen(
            vm,
            "a sign of life",
            |_, message, _| matches!(message, Message::Report { number, .. } if *number == asked),
        )
    }

    /// Returns whether the guest has said what is a pass twice after its last move: the first time
    /// it may be the result of work before that. A program that ends says it once.
    fn has_passed(&self) -> bool {
        self.passes > u32::from(self.ended.is_none())
    }

    /// Waits for what is a pass after the last move.
    pub fn await_pass(&mut self, vm: &mut Vm, ok: &Regex) -> Result<()> {
        let what = format!("\"{}\" after its last move", ok.as_str());
        self.listen(vm, &what, |listener, _, _| listener.has_passed())
    }

    /// Takes the guest's messages until `pick` accepts one.
    fn listen(
        &mut self,
        vm: &mut Vm,
        what: &str,
        mut pick: impl FnMut(&Listener, &Message, &[String]) -> bool,
    ) -> Result<()> {
        let end = patience::until(LONGEST);
        let (console, process) = vm.console();
        loop {
            if let Some(status) = self.ended.as_ref().filter(|_| !self.has_passed()) {
                bail!(
                    "the guest program has ended ({status}) before it said {what}{}",
                    self.last_words()
                );
            }
            ensure!(
                !end.is_over(),
                "the guest has not said {what} in time{}",
                self.last_words()
            );
            let message = console.message(process, what, patience::until(PATIENCE));
            let message =
                message.with_context(|| format!("the guest is silent{}", self.last_words()))?;
            let lines = self.hear(&message)?;
            if pick(self, &message, &lines) {
                return Ok(());
            }
        }
    }

    /// Takes a message of the guest. Returns its lines, or an error if they are a failure.
    fn hear(&mut self, message: &Message) -> Result<Vec<String>> {
        let lines = match message {
            Message::Line { text } => vec![text.clone()],
            Message::Kernel { lines } => lines.clone(),
            Message::Ended { status } => {
                self.ended = Some(status.clone());
                return Ok(Vec::new());
            }
            _ => return Ok(Vec::new()),
        };
        for line in &lines {
            writeln!(self.transcript, "{line}")?;
        }
        self.said.extend_from_slice(&lines);
        if matches!(message, Message::Kernel { .. }) {
            let complaints = kernel_log::pick(&lines);
            let complaints = complaints.join("\n");
            ensure!(
                complaints.is_empty(),
                "the guest's kernel complains:\n{complaints}"
            );
        }
        let fails = |line: &&String| self.fail.as_ref().is_some_and(|fail| fail.is_match(line));
        if let Some(line) = lines.iter().find(fails) {
            bail!("the guest says: {line}");
        }
        let passes = |line: &&String| self.ok.as_ref().is_some_and(|ok| ok.is_match(line));
        if self.has_moved {
            self.passes += lines.iter().filter(passes).count() as u32;
        }
        Ok(lines)
    }

    /// Returns the end of a message about the guest: what it has said last.
    fn last_words(&self) -> String {
        let last = &self.said[self.said.len().saturating_sub(SHOWN)..];
        match last {
            [] => "; it has said nothing".into(),
            lines => format!("; it has said last: {}", lines.join(" | ")),
        }
    }
}
