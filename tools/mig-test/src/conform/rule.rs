// SPDX-License-Identifier: GPL-2.0
//! What a rule of `mig-test conform` is, and which of them are chosen.

use serde::{Deserialize, Serialize};

pub use super::rules::RULES;

/// How bad a violation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A guest under unmodified QEMU loses data, hangs or does not migrate.
    QemuBreaks,
    /// A user of VFIO may rely on it, although today's QEMU does not.
    UapiViolated,
    /// It works, and makes migrations longer or errors harder to find.
    Advice,
}

impl Severity {
    /// Returns it in words.
    pub fn words(self) -> &'static str {
        match self {
            Severity::QemuBreaks => "QEMU breaks",
            Severity::UapiViolated => "UAPI violated",
            Severity::Advice => "advice",
        }
    }
}

/// A rule. Each is checked by exactly one check.
#[derive(Debug)]
pub struct Rule {
    /// Its name on the command line and in reports: a group, a dot, a word.
    pub id: &'static str,
    /// How bad a violation is.
    pub severity: Severity,
    /// The rule, as a sentence about the device.
    pub says: &'static str,
    /// Where it is written: a header, a document, or a file of QEMU.
    pub source: &'static str,
}

impl Rule {
    /// Returns the name of its group.
    pub fn group(&self) -> &'static str {
        self.id.split('.').next().unwrap_or_default()
    }

    /// Returns whether it is about the device's work, and so checked by works.
    pub fn is_of_work(&self) -> bool {
        !matches!(self.group(), "uapi" | "v1" | "advice")
    }
}

/// Makes a rule.
pub(super) const fn rule(
    id: &'static str,
    severity: Severity,
    says: &'static str,
    source: &'static str,
) -> Rule {
    Rule {
        id,
        severity,
        says,
        source,
    }
}

/// Returns the names of the groups.
pub fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = RULES.iter().map(Rule::group).collect();
    groups.dedup();
    groups
}

/// Finds a rule by its name.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// Returns whether `id` is chosen by `names`: rules, or groups of them. No names choose all.
pub fn is_chosen(id: &str, names: &[String]) -> bool {
    let by =
        |name: &String| id == name || id.split_once('.').is_some_and(|(group, _)| group == name);
    names.is_empty() || names.iter().any(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_name_of_its_own_and_a_sentence_without_an_end() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(
                RULES[..index].iter().all(|other| other.id != rule.id),
                "{}",
                rule.id
            );
            assert_eq!(rule.id.split('.').count(), 2, "{}", rule.id);
            assert!(
                !rule.says.ends_with('.') && !rule.source.is_empty(),
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn rules_are_chosen_by_name_or_by_group() {
        let names = ["move".to_owned(), "stop.same".to_owned()];
        assert!(is_chosen("move.registers", &names));
        assert!(is_chosen("stop.same", &names));
        assert!(!is_chosen("stop.device", &names));
        assert!(is_chosen("stop.device", &[]));
    }
}
