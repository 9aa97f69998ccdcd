// SPDX-License-Identifier: GPL-2.0
//! The suite's own test: a device of which each type has one defect (tools/mig-test/kmod). The suite
//! must find each of them by the rules that are named here, and nothing in the sound one.

use std::fs;

use anyhow::{ensure, Context, Result};
use serde::Serialize;

use super::exercise::Exercise;
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
/// The name of the sound type after the parent's, and how the work goes.
const SOUND: &str = "mutant-sound";
const EXERCISE: &str = include_str!("../../kmod/mutant.toml");

/// The mutants, each with the rules that may be the first to find it.
/// Documentation/conformance.md has the same table.
const FOUND_BY: &[(&str, &[&str])] = &[];

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
    let sound = Source::Type(format!("{PARENT}/{SOUND}"));
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
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Takes a mutant through the suite, up to the first violation.
fn one(ctx: &mut Ctx, name: &str, exercise: &Exercise, found: &Found) -> Result<Report> {
    let source = Source::Type(format!("{PARENT}/{name}"));
    let target = source.target(ctx)?;
    let choice = Choice {
        rules: front::groups(),
        is_short: true,
        seed: 1,
        found: Some(found.clone()),
    };
    let mut step = |text: String| ctx.step(format!("{name}: {text}"));
    front::work(&mut step, &target, exercise, Report::new(name), &choice)
}

/// Returns what is wrong if the rule `found_by` was the first that a mutant violated.
fn judge(name: &str, found_by: &str) -> Option<String> {
    let known = FOUND_BY.iter().find(|(known, _)| *known == name);
    match known {
        None if name == SOUND && found_by.is_empty() => None,
        None if name == SOUND => Some(format!("{name} violates {found_by}, and has no defect")),
        None => Some(format!(
            "{name} is not in the table; found by \"{found_by}\""
        )),
        Some((_, rules)) if rules.contains(&found_by) => None,
        Some(_) if found_by.is_empty() => Some(format!("{name} was not found")),
        Some((_, rules)) => {
            let rules = rules.join(" or ");
            Some(format!(
                "{name} was found by {found_by}, and not by {rules}"
            ))
        }
    }
}
