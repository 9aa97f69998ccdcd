// SPDX-License-Identifier: GPL-2.0
//! The messages between the host and the agent in the lab VM: one JSON object per line.
//!
//! The agent sends [`Event::Ready`]; the host answers with one [`Job`]; the agent runs it, reports
//! events, ends with [`Event::Bye`] and powers the VM off. It may end early, after any scenario;
//! the rest of the job then needs a new VM.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::qemu::version::Qemu;

/// A message from the agent to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The VM has booted and waits for its job.
    Ready {
        /// Release of the kernel, as `uname -r` prints it.
        kernel: String,
        /// Whether `/dev/kvm` is available for nested guests.
        kvm: bool,
    },
    /// A scenario starts.
    Begin {
        /// Its name.
        scenario: String,
    },
    /// The current activity of the scenario.
    Step {
        /// A sentence without a full stop.
        text: String,
    },
    /// Figures of the scenario.
    Report {
        /// A flat object whose keys carry the unit, or an array of such objects.
        value: serde_json::Value,
    },
    /// A scenario is over.
    End {
        /// Its name.
        scenario: String,
        /// Its outcome.
        outcome: Outcome,
        /// Its duration.
        seconds: f64,
    },
    /// The job is over, or this VM cannot run the rest of it.
    Bye,
}

/// The outcome of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It could not run here.
    Skipped {
        /// What is missing.
        reason: String,
    },
    /// It failed.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// The host's request to the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Names of scenarios, in the order to run them.
    pub scenarios: Vec<String>,
    /// Options of the scenarios.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The QEMU that runs guests.
    #[serde(default)]
    pub qemu: Qemu,
    /// The folder for files of failed scenarios, below the share with the host.
    #[serde(default)]
    pub out: String,
    /// The kernel of guests, a file of the lab VM.
    #[serde(default)]
    pub guest_kernel: String,
    /// The factor for every timeout.
    #[serde(default)]
    pub patience: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_reads_back_as_itself() {
        let event = Event::End {
            scenario: "demo".into(),
            outcome: Outcome::Failed {
                reason: "a\nb".into(),
            },
            seconds: 1.5,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn a_job_without_options_is_a_job() {
        let job: Job = serde_json::from_str(r#"{"scenarios":["demo"]}"#).unwrap();
        assert_eq!(job.scenarios, ["demo"]);
        assert!(job.options.is_empty());
    }
}
