// SPDX-License-Identifier: GPL-2.0
//! Runs the suite: on what the options of a scenario select, in the lab VM or here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mig_common::exercise::Exercise;
use serde::Serialize;
use serde_json::json;

use super::explore::Found;
use super::log::DeviceLog;
use super::report::{Report, Verdict};
use super::rule::{self, Rule};
use super::suite::{Choice, Suite};
use super::{moves, promises, races, resets, streams};
use crate::event::{Event, Outcome};
use crate::failure::is_unusable;
use crate::scenario::source::{all_sources, Source, Test, EXERCISE};
use crate::scenario::target::Target;
use crate::scenario::{Ctx, UAPI, V1};

/// The option with the rules to check, separated by commas. Without it those that no other scenario
/// checks are.
pub const RULES: &str = "rules";
/// The option that asks for the whole report.
pub const FULL: &str = "full";
/// The name of the figures of a whole report.
pub const NAME: &str = "conform";

/// The groups that have scenarios of their own.
const ELSEWHERE: [&str; 2] = ["uapi", "v1"];

/// One line of the figures.
#[derive(Serialize)]
struct Row<'r> {
    device: &'r str,
    passed: usize,
    failed: usize,
    skipped: usize,
    moves: u64,
    bent_streams: u64,
    stream_bytes: usize,
}

/// Checks the text of an exercise.
pub fn check_exercise(text: &str) -> Result<()> {
    Exercise::parse(text).map(drop)
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let reports = reports(ctx)?;
    ctx.report(reports.iter().map(row).collect::<Vec<_>>())?;
    if ctx.options.contains_key(FULL) {
        ctx.report(json!({ NAME: reports }))?;
    }
    Ok(outcome(&reports))
}

/// Runs the suite in this process, on this machine.
pub fn here(options: &BTreeMap<String, String>, tell: &mut dyn FnMut(&str)) -> Result<Vec<Report>> {
    let mut emit = |event: Event| {
        if let Event::Step { text } = event {
            tell(&text);
        }
    };
    let mut ctx = Ctx {
        options,
        qemu: Default::default(),
        guest_kernel: "",
        dir: PathBuf::new(),
        job: PathBuf::new(),
        emit: &mut emit,
    };
    reports(&mut ctx)
}

fn reports(ctx: &mut Ctx) -> Result<Vec<Report>> {
    let names = ctx.options.get(RULES);
    let names = names.map(|names| names.split(',').map(str::to_owned).collect());
    let choice = Choice {
        rules: names.unwrap_or_else(groups),
        is_short: false,
        seed: ctx.number("seed", 1)?,
        found: None,
    };
    let mut reports = Vec::new();
    for source in all_sources(ctx)? {
        reports.push(one(ctx, &source, &choice)?);
    }
    Ok(reports)
}

/// Returns the groups that only this scenario checks.
pub fn groups() -> Vec<String> {
    let all = rule::groups().into_iter();
    all.filter(|group| !ELSEWHERE.contains(group))
        .map(str::to_owned)
        .collect()
}

/// Takes one device through the suite.
pub fn one(ctx: &mut Ctx, source: &Source, choice: &Choice) -> Result<Report> {
    let mut report = Report::new(&source.name());
    for (rule, test) in UAPI.into_iter().chain(V1) {
        if rule::is_chosen(rule, &choice.rules) {
            ctx.step(format!("{}: {rule}", source.name()));
            report.add(rule, tested(ctx, source, test));
        }
    }
    let given = ctx.options.get(EXERCISE).cloned();
    let text = given.or_else(|| source.exercise().map(str::to_owned));
    let exercise = match &text {
        Some(text) => {
            report.add("advice.exercise", Verdict::Passed);
            Exercise::parse(text).context("the exercise")?
        }
        None => {
            let shows = "no exercise was given: say --exercise FILE".into();
            report.add("advice.exercise", Verdict::Failed { shows });
            Exercise::default()
        }
    };
    if !rule::is_chosen("advice.exercise", &choice.rules) {
        report
            .findings
            .retain(|finding| finding.rule != "advice.exercise");
    }
    let target = source.target(ctx)?;
    let name = source.name();
    let mut step = |text: String| ctx.step(format!("{name}: {text}"));
    work(&mut step, &target, &exercise, report, choice)
}

/// Takes a device without an exercise through the checks of its moves, up to the first violation.
pub fn first_violation(target: &Target) -> Result<String> {
    let choice = Choice {
        rules: vec!["work".into(), "move".into()],
        is_short: true,
        ..Choice::default()
    };
    let (mut step, exercise) = (|_: String| {}, Exercise::default());
    let report = work(&mut step, target, &exercise, Report::default(), &choice)?;
    let first = report.findings.iter().find(|finding| finding.is_failed());
    Ok(first.map_or_else(String::new, |finding| finding.shows()))
}

/// Explores a device, and plays its works without a move, for others of its kind.
pub fn found(target: &Target, exercise: &Exercise) -> Result<Found> {
    let mut step = |_: String| {};
    let mut suite = Suite::new(
        &mut step,
        target,
        exercise,
        Report::default(),
        &Choice::default(),
    )?;
    moves::alone(&mut suite)?;
    Ok(Found {
        readable: suite.readable.clone(),
        ..suite.found().clone()
    })
}

/// Takes a device through the checks of its work.
pub fn work(
    step: &mut dyn FnMut(String),
    target: &Target,
    exercise: &Exercise,
    mut report: Report,
    choice: &Choice,
) -> Result<Report> {
    let is_wanted = |rule: &Rule| rule::is_chosen(rule.id, &choice.rules) && rule.is_of_work();
    if !rule::RULES.iter().any(is_wanted) {
        report.finish(&choice.rules, "it was not reached");
        return Ok(report);
    }
    let mut log = DeviceLog::of([target]);
    let mut suite = match Suite::new(step, target, exercise, report.clone(), choice) {
        Ok(suite) => suite,
        Err(error) if is_unusable(&error) => return Err(error),
        Err(error) => {
            report.fail("work.alone", log.with(format!("{error:#}")));
            report.finish(
                &choice.rules,
                "the device could not be taken into the suite",
            );
            return Ok(report);
        }
    };
    // What changes by itself is known of a device of a kind that was explored.
    if suite.wants("work") || choice.found.is_none() {
        suite.run_all(&["work"], "work.alone", moves::alone);
    }
    suite.run(&["reset"], "reset.runs", resets::reset);
    let moving = ["move", "cancel", "stop", "load", "size"];
    suite.run(&moving, "move.completes", |suite| {
        suite.ensure_migrates()?;
        moves::moved(suite)
    });
    suite.run(&["precopy"], "move.completes", |suite| {
        promises::pre_copy(suite)?;
        match suite.is_enough() {
            true => Ok(()),
            false => races::raced(suite),
        }
    });
    suite.run(&["stream"], "stream.works", streams::bent);
    Ok(suite.finish())
}

/// Runs the test of a rule on a new device.
fn tested(ctx: &mut Ctx, source: &Source, test: Test) -> Verdict {
    let target = match source.target(ctx) {
        Ok(target) => target,
        Err(error) => {
            let shows = format!("{error:#}");
            return Verdict::Failed { shows };
        }
    };
    let mut log = DeviceLog::of([&target]);
    let shows = match test(ctx, target) {
        Ok(Outcome::Passed) => return Verdict::Passed,
        Ok(Outcome::Skipped { reason }) => return Verdict::Skipped { reason },
        Ok(Outcome::Failed { reason }) => reason,
        Err(error) => format!("{error:#}"),
    };
    let shows = log.with(shows);
    Verdict::Failed { shows }
}

fn row(report: &Report) -> Row<'_> {
    let count = |is: fn(&Verdict) -> bool| {
        report
            .findings
            .iter()
            .filter(|finding| is(&finding.verdict))
            .count()
    };
    Row {
        device: &report.device,
        passed: count(|verdict| *verdict == Verdict::Passed),
        failed: count(|verdict| matches!(verdict, Verdict::Failed { .. })),
        skipped: count(|verdict| matches!(verdict, Verdict::Skipped { .. })),
        moves: report.coverage.moves,
        bent_streams: report.coverage.bent_streams,
        stream_bytes: report.coverage.stream_bytes,
    }
}

/// Returns failed if a rule is violated that is more than advice.
fn outcome(reports: &[Report]) -> Outcome {
    let mut failed = Vec::new();
    for report in reports {
        for finding in report
            .findings
            .iter()
            .filter(|finding| finding.is_violated())
        {
            let (device, rule) = (&report.device, &finding.rule);
            failed.push(format!("{device}: {rule}: {}", finding.shows()));
        }
    }
    match failed.as_slice() {
        [] => Outcome::Passed,
        failed => Outcome::Failed {
            reason: failed.join("\n"),
        },
    }
}
