// SPDX-License-Identifier: GPL-2.0
//! QEMU's machine protocol (QEMU's docs/interop/qmp-spec.rst): commands and events.

use std::collections::VecDeque;

use anyhow::{bail, Result};
use serde_json::{json, Value};

use super::channel::Channel;
use super::process::{Process, PATIENCE};
use crate::patience::{self, Deadline};

/// A QMP session after its greeting.
pub struct Qmp {
    channel: Channel,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Answers the greeting; returns the session and QEMU's version.
    pub fn greet(channel: Channel, process: &mut Process) -> Result<(Qmp, String)> {
        let mut qmp = Qmp {
            channel,
            events: VecDeque::new(),
        };
        let greeting = qmp.receive(process, "its QMP greeting", patience::until(PATIENCE))?;
        let version = &greeting["QMP"]["version"]["qemu"];
        let version = format!(
            "{}.{}.{}",
            version["major"], version["minor"], version["micro"]
        );
        qmp.command(process, "qmp_capabilities", json!({}))?;
        Ok((qmp, version))
    }

    /// Runs a command and returns its result. An error of QEMU is an error here.
    pub fn command(&mut self, process: &mut Process, name: &str, args: Value) -> Result<Value> {
        self.channel
            .send(&json!({ "execute": name, "arguments": args }).to_string())?;
        let deadline = patience::until(PATIENCE);
        loop {
            let mut answer = self.receive(process, &format!("an answer to {name}"), deadline)?;
            if let Some(error) = answer.get("error") {
                bail!(
                    "QEMU refused {name}: {}",
                    error["desc"].as_str().unwrap_or("no reason")
                );
            }
            if answer.get("return").is_some() {
                return Ok(answer["return"].take());
            }
            self.events.push_back(answer);
        }
    }

    /// Waits for an event that `pick` accepts, including past ones. Others are dropped.
    pub fn await_event<T>(
        &mut self,
        process: &mut Process,
        what: &str,
        mut pick: impl FnMut(&str, &Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = patience::until(PATIENCE);
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.receive(process, what, deadline)?,
            };
            if let Some(found) = pick(event["event"].as_str().unwrap_or(""), &event["data"]) {
                return Ok(found);
            }
        }
    }

    /// Drops the events received so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    fn receive(&mut self, process: &mut Process, what: &str, deadline: Deadline) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.channel.line(process, what, deadline)?,
        )?)
    }
}
