// SPDX-License-Identifier: GPL-2.0
//! Runs the suite: on what the options of a scenario select, in the lab VM or here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::exercise::Exercise;
use super::explore::Found;
use super::report::{Report, Verdict};
use super::rule;
use super::suite::{Choice, Suite};
use super::{moves, promises, resets, streams};
use crate::event::{Event, Outcome};
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
        seed: match ctx.options.get("seed") {
            Some(text) => text.parse().context("the option seed is a number")?,
            None => 1,
        },
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
    report: Report,
    choice: &Choice,
) -> Result<Report> {
    let mut suite = Suite::new(step, target, exercise, report, choice)?;
    // What differs by itself is known of a device of a kind that was explored.
    if suite.wants("work") || (suite.wants("move") && choice.found.is_none()) {
        moves::alone(&mut suite)?;
    }
    if suite.wants("reset") {
        resets::reset(&mut suite)?;
    }
    suite.ensure_migrates()?;
    let moving = ["move", "cancel", "stop", "load", "size"];
    if moving.into_iter().any(|group| suite.wants(group)) {
        moves::moved(&mut suite)?;
    }
    if suite.wants("precopy") {
        promises::pre_copy(&mut suite)?;
    }
    if suite.wants("stream") {
        streams::bent(&mut suite)?;
    }
    Ok(suite.finish())
}

/// Runs the test of a rule on a new device.
fn tested(ctx: &mut Ctx, source: &Source, test: Test) -> Verdict {
    let outcome = source.target(ctx).and_then(|target| test(ctx, target));
    match outcome {
        Ok(Outcome::Passed) => Verdict::Passed,
        Ok(Outcome::Skipped { reason }) => Verdict::Skipped { reason },
        Ok(Outcome::Failed { reason }) => Verdict::Failed { shows: reason },
        Err(error) => Verdict::Failed {
            shows: format!("{error:#}"),
        },
    }
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
