// SPDX-License-Identifier: GPL-2.0
//! The result of `mig-test conform` for one device: a verdict on each rule, and what was exercised.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rule::{self, Severity, RULES};

/// The verdict on a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found that violates it.
    Passed,
    /// It is violated.
    Failed {
        /// The smallest sequence of calls that shows it, and what was found.
        shows: String,
    },
    /// It was not checked.
    Skipped {
        /// What the device lacks, or what was not exercised.
        reason: String,
    },
}

/// A rule and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The name of the rule.
    pub rule: String,
    /// Its severity.
    pub severity: Severity,
    /// The rule.
    pub says: String,
    /// Where it is written.
    pub source: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What was exercised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Ways of `way.rs` on which the device was moved.
    pub ways: Count,
    /// State changes that were made, and those that the device offers and that were not made.
    pub arcs: Count,
    /// Tags of records of the stream that were seen, and how many of them were bent.
    pub records: Count,
    /// Bytes of registers that the work writes or reads; `of` counts those that show something.
    pub registers: Count,
    /// Interrupt types that works were played with.
    pub interrupts: Count,
    /// Bytes of the longest stream.
    pub stream_bytes: usize,
    /// Moves from device to device.
    pub moves: u64,
    /// Streams that were bent and written to the device.
    pub bent_streams: u64,
    /// Registers that a read changes, and that are not looked at while the device is stopped.
    pub sensitive: Vec<String>,
    /// Registers that differ between two runs without a move, and are not compared.
    pub volatile: Vec<String>,
}

/// How many of how many, and the names of the rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Exercised.
    pub seen: usize,
    /// All.
    pub of: usize,
    /// The names of those that were not exercised; at most some of them.
    pub missing: Vec<String>,
}

/// The number of names of what was not exercised.
const NAMED: usize = 8;

impl Count {
    /// Counts the names in `seen` among `all`.
    pub fn of(seen: &BTreeSet<String>, all: &BTreeSet<String>) -> Self {
        let missing = all.difference(seen).take(NAMED).cloned().collect();
        Count {
            seen: all.intersection(seen).count(),
            of: all.len(),
            missing,
        }
    }

    /// Returns it in words.
    fn words(&self, what: &str) -> String {
        match self.missing.as_slice() {
            [] => format!("{} of {} {what}", self.seen, self.of),
            missing => {
                let more = self.of - self.seen - missing.len();
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                format!(
                    "{} of {} {what} (not {}{more})",
                    self.seen,
                    self.of,
                    missing.join(", ")
                )
            }
        }
    }
}

impl Coverage {
    /// Returns it in one line.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} moves", self.moves)];
        if self.moves > 0 {
            parts.push(self.ways.words("ways"));
        }
        parts.extend([
            self.arcs.words("state changes"),
            self.records.words("records bent"),
            self.registers.words("bytes of registers"),
            self.interrupts.words("interrupts"),
            format!("{} bytes of stream", self.stream_bytes),
            format!("{} bent streams", self.bent_streams),
        ]);
        if !self.sensitive.is_empty() {
            let names = self.sensitive.join(", ");
            parts.push(format!(
                "not read while stopped, because a read changes them: {names}"
            ));
        }
        if !self.volatile.is_empty() {
            parts.push(format!(
                "not compared, because they change by themselves: {}",
                self.volatile.join(", ")
            ));
        }
        parts.join("; ")
    }
}

/// The result for one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The device: its driver or its type.
    pub device: String,
    /// The verdicts, in the order of the rules.
    pub findings: Vec<Finding>,
    /// What was exercised.
    pub coverage: Coverage,
}

impl Report {
    /// Creates a report without verdicts.
    pub fn new(device: &str) -> Self {
        Report {
            device: device.into(),
            ..Report::default()
        }
    }

    /// Adds the verdict on the rule `id`. The first failure counts, and a failure counts more than
    /// anything else.
    pub fn add(&mut self, id: &str, verdict: Verdict) {
        let rule = rule::find(id).unwrap_or_else(|| panic!("there is no rule {id}"));
        let known = self.findings.iter_mut().find(|finding| finding.rule == id);
        match (known, &verdict) {
            (None, _) => self.findings.push(Finding {
                rule: id.into(),
                severity: rule.severity,
                says: rule.says.into(),
                source: rule.source.into(),
                verdict,
            }),
            (Some(known), Verdict::Failed { .. }) if !known.is_failed() => known.verdict = verdict,
            (Some(known), Verdict::Passed) if !known.is_failed() => known.verdict = verdict,
            _ => {}
        }
    }

    /// Adds a failure.
    pub fn fail(&mut self, id: &str, shows: impl Into<String>) {
        let shows = shows.into();
        self.add(id, Verdict::Failed { shows });
    }

    /// Returns whether a rule has failed.
    pub fn has_failed(&self, id: &str) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.rule == id && finding.is_failed())
    }

    /// Returns the names of the rules that have failed.
    pub fn failed(&self) -> Vec<&str> {
        let failed = self.findings.iter().filter(|finding| finding.is_failed());
        failed.map(|finding| finding.rule.as_str()).collect()
    }

    /// Returns the number of rules that are violated and are more than advice.
    pub fn violated(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.is_violated())
            .count()
    }

    /// Puts the verdicts into the order of the rules, and skips the chosen rules without one.
    pub fn finish(&mut self, chosen: &[String], reason: &str) {
        for one in RULES.iter().filter(|one| rule::is_chosen(one.id, chosen)) {
            if !self.findings.iter().any(|finding| finding.rule == one.id) {
                let reason = reason.into();
                self.add(one.id, Verdict::Skipped { reason });
            }
        }
        let place = |finding: &Finding| RULES.iter().position(|one| one.id == finding.rule);
        self.findings.sort_by_key(place);
    }
}

impl Finding {
    /// Returns whether the check has failed.
    pub fn is_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }

    /// Returns what shows a violation, or nothing.
    pub fn shows(&self) -> String {
        match &self.verdict {
            Verdict::Failed { shows } => shows.clone(),
            _ => String::new(),
        }
    }

    /// Returns whether it has, and the rule is more than advice.
    pub fn is_violated(&self) -> bool {
        self.is_failed() && self.severity != Severity::Advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stays_and_what_was_not_checked_is_skipped_with_a_reason() {
        let mut report = Report::new("card");
        report.add("move.registers", Verdict::Passed);
        report.fail("move.registers", "first");
        report.fail("move.registers", "second");
        report.add("move.registers", Verdict::Passed);
        report.finish(&["move".into()], "it was not reached");
        assert_eq!(report.failed(), ["move.registers"]);
        let Verdict::Failed { shows } = &report.findings[1].verdict else {
            panic!("{report:?}");
        };
        assert_eq!(shows, "first");
        assert_eq!(report.findings.len(), 5);
        let skipped = Verdict::Skipped {
            reason: "it was not reached".into(),
        };
        assert_eq!(report.findings[0].verdict, skipped);
    }

    #[test]
    fn what_was_not_exercised_is_named() {
        let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        let count = Count::of(&set(&["a", "x"]), &set(&["a", "b"]));
        assert_eq!(count.words("letters"), "1 of 2 letters (not b)");
        assert_eq!(
            Count::of(&set(&["a"]), &set(&["a"])).words("letters"),
            "1 of 1 letters"
        );
    }
}
