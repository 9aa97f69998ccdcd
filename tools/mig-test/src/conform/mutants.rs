// SPDX-License-Identifier: GPL-2.0
//! The suite's own test: a device of which each type has one defect (tools/mig-test/kmod). The
//! suite must find each of them by the rules that are named here, and nothing in the sound one.

use std::fs;

use anyhow::{ensure, Context, Result};
use mig_common::exercise::Exercise;
use serde::Serialize;

use super::explore::Found;
use super::front;
use super::report::Report;
use super::suite::Choice;
use crate::event::Outcome;
use crate::mdev;
use crate::scenario::source::Source;
use crate::scenario::{load, Ctx};

/// The module, and its parent.
const MODULE: &str = "mutant_rs";
const PARENT: &str = "mutant";
/// What the names of types begin with in sysfs, and the sound one.
const PREFIX: &str = "mutant-";
const SOUND: &str = "sound";
/// How the device works.
const EXERCISE: &str = include_str!("../../kmod/mutant.toml");

/// The mutants, each with the rule that finds it, or with those of which either does first.
/// Documentation/conformance.md has the same table.
const FOUND_BY: &[(&str, &str)] = &[
    ("address-lost", "move.interrupts"),
    ("byte-lost", "move.registers"),
    ("cancel-forgets", "cancel.state"),
    ("count-lost", "move.registers"),
    ("dirty-at-start", "precopy.begins-clean"),
    ("dirty-cleared-late", "precopy.races"),
    ("eight-at-once", "size.stop-copy"),
    ("error-lost", "move.interrupts"),
    ("guest-written-after-load", "move.guest-memory"),
    ("half-lost", "move.registers"),
    ("index-lost", "move.registers"),
    ("index-unchecked", "stream.legal"),
    (
        "interrupt-cleared-by-quiesce",
        "move.interrupts or move.registers",
    ),
    ("interrupt-lost", "move.interrupts or move.registers"),
    ("interrupt-missing", "work.interrupts"),
    ("interrupt-pulsed", "move.interrupts"),
    ("job-dropped", "move.interrupts or move.registers"),
    ("job-repeated", "load.same or move.registers"),
    ("job-restarted", "move.registers"),
    ("job-skipped", "load.same or move.registers"),
    ("job-uncounted", "work.alone"),
    ("jobs-counted-twice", "load.same"),
    ("jobs-lost", "move.registers"),
    ("last-page-skipped", "move.device-memory"),
    ("late-pages-dropped", "stream.reordered"),
    ("load-changes-device", "stream.ended"),
    ("load-fails-once-busy", "move.completes"),
    ("load-merges", "load.same"),
    ("long-lost", "move.registers"),
    ("many-jobs-stay-running", "stream.works"),
    ("memory-not-committed", "load.same"),
    ("memory-partly-committed", "load.same"),
    ("missing-record-taken", "stream.left-out"),
    (
        "pages-lost-after-first-pass",
        "move.registers or move.device-memory",
    ),
    ("pages-unchecked", "stream.legal"),
    ("precopy-never-ends", "precopy.ends"),
    ("quiesce-busy", "move.completes"),
    (
        "quiesce-nothing",
        "stop.same or stop.device or move.registers",
    ),
    ("repeated-record-adds", "stream.repeated"),
    ("reset-keeps-job", "reset.fresh or reset.runs"),
    ("reset-keeps-memory", "reset.fresh"),
    ("reset-keeps-status", "reset.runs or reset.fresh"),
    ("reset-keeps-steps", "reset.runs or reset.fresh"),
    ("reset-keeps-table", "reset.fresh"),
    ("reset-keeps-word", "reset.fresh"),
    ("reset-stays-stopped", "reset.runs"),
    ("resume-forgets", "move.interrupts"),
    ("save-adds-time", "stop.same"),
    ("save-destroys", "stop.same"),
    ("second-session-empty", "stop.same"),
    ("seed-lost", "move.registers"),
    ("short-record-taken", "stream.resized"),
    ("size-huge", "size.near"),
    ("size-too-small", "size.stop-copy"),
    ("size-too-small-in-stop", "size.stop-copy"),
    ("status-lost", "move.interrupts or move.registers"),
    ("status-masked", "stream.bent"),
    ("status-unchecked", "stream.legal"),
    ("steps-lost", "move.registers"),
    ("table-entry-15-lost", "move.registers"),
    ("table-lost", "move.registers"),
    ("word-in-static", "load.same or move.registers"),
    ("word-swapped", "load.same"),
    ("write-lost-while-stopped", "move.registers"),
    ("zero-page-skipped", "move.device-memory"),
];

/// Mutants that the suite meets as it meets a driver of which it knows nothing: it explores them,
/// and must not take what a reset forgets for a clock.
const UNKNOWN: [&str; 2] = ["reset-keeps-steps", "steps-lost"];

/// A line of the figures.
#[derive(Serialize)]
struct Row {
    mutant: String,
    found_by: String,
    shows: String,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MODULE)?;
    let exercise = Exercise::parse(EXERCISE)?;
    let only = ctx.options.get("mutant").cloned();
    let mut mutants = names()?;
    mutants.retain(|name| only.as_ref().is_none_or(|only| name == only));
    ensure!(!mutants.is_empty(), "there is no such mutant");
    ctx.step("exploring the sound one");
    let sound = Source::Type(format!("{PARENT}/{PREFIX}{SOUND}"));
    let found = front::found(&sound.target(ctx)?, &exercise)?;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for name in mutants {
        ctx.step(name.clone());
        let report = one(ctx, &name, &exercise, &found).with_context(|| name.clone())?;
        let first = report.findings.iter().find(|finding| finding.is_failed());
        let found_by = first.map_or(String::new(), |finding| finding.rule.clone());
        if let Some(what) = judge(&name, &found_by) {
            wrong.push(what);
        }
        let shows = first.map(|finding| finding.shows()).unwrap_or_default();
        rows.push(Row {
            mutant: name,
            found_by,
            shows,
        });
    }
    ctx.report(rows)?;
    Ok(match wrong.as_slice() {
        [] => Outcome::Passed,
        wrong => Outcome::Failed {
            reason: wrong.join("\n"),
        },
    })
}

/// Returns the names of the types.
fn names() -> Result<Vec<String>> {
    let folder = format!("{}/{PARENT}/mdev_supported_types", mdev::PARENTS);
    let entries = fs::read_dir(&folder).with_context(|| folder.clone())?;
    let names = entries.map(|entry| {
        let name = entry?.file_name().to_string_lossy().into_owned();
        Ok(name.trim_start_matches(PREFIX).to_owned())
    });
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Takes a mutant through the checks of its rule's group, up to the first violation; the sound one
/// through all.
fn one(ctx: &mut Ctx, name: &str, exercise: &Exercise, found: &Found) -> Result<Report> {
    let source = Source::Type(format!("{PARENT}/{PREFIX}{name}"));
    let target = source.target(ctx)?;
    let group = rule_of(name).and_then(|rule| rule.split('.').next());
    let choice = Choice {
        rules: group.map_or_else(front::groups, |group| vec![group.to_owned()]),
        is_short: true,
        seed: 1,
        found: (!UNKNOWN.contains(&name)).then(|| found.clone()),
    };
    let mut step = |text: String| ctx.step(format!("{name}: {text}"));
    front::work(&mut step, &target, exercise, Report::new(name), &choice)
}

/// Returns the rule that finds a mutant.
fn rule_of(name: &str) -> Option<&'static str> {
    let known = FOUND_BY.iter().find(|(known, _)| *known == name);
    known.map(|(_, rule)| *rule)
}

/// Returns what is wrong if the rule `found_by` was the first that a mutant violated.
fn judge(name: &str, found_by: &str) -> Option<String> {
    match rule_of(name) {
        None if name == SOUND && found_by.is_empty() => None,
        None if name == SOUND => Some(format!("{name} violates {found_by}, and has no defect")),
        None => Some(format!(
            "{name} is not in the table; found by \"{found_by}\""
        )),
        Some(rules) if rules.split(" or ").any(|rule| rule == found_by) => None,
        Some(rule) if found_by.is_empty() => Some(format!("{name} was not found by {rule}")),
        Some(rule) => Some(format!("{name} was found by {found_by}, and not by {rule}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::rule;

    const PAGE: &str = include_str!("../../../../Documentation/conformance.md");

    #[test]
    fn a_mutant_is_found_by_a_rule_and_the_page_says_so() {
        for (name, id) in FOUND_BY {
            assert!(id.split(" or ").all(|id| rule::find(id).is_some()), "{id}");
            let mut rows = PAGE
                .lines()
                .filter(|line| line.starts_with(&format!("| {name} |")));
            let row = rows
                .next()
                .unwrap_or_else(|| panic!("{name} is not on the page"));
            assert!(row.ends_with(&format!("| {id} |")), "{row}");
        }
    }

    #[test]
    fn whatever_is_not_as_in_the_table_is_wrong() {
        assert_eq!(judge("byte-lost", "move.registers"), None);
        assert_eq!(judge(SOUND, ""), None);
        for (name, found_by) in [
            ("byte-lost", ""),
            ("byte-lost", "load.same"),
            (SOUND, "load.same"),
            ("new", ""),
        ] {
            assert!(judge(name, found_by).is_some(), "{name} {found_by}");
        }
    }
}
