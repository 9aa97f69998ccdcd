// SPDX-License-Identifier: GPL-2.0
//! mainline's C sample beside the project's drivers: the suite must find what
//! Documentation/findings.md says of it, all of it and nothing else.

use anyhow::Result;

use super::front;
use super::suite::Choice;
use crate::event::Outcome;
use crate::scenario::source::Source;
use crate::scenario::{kernel_release, Ctx};

/// Its module.
const MODULE: &str = "mtty";
/// The rules that it violates, in the order of the rules.
const VIOLATED: [&str; 9] = [
    "uapi.info",
    "uapi.regions",
    "uapi.interrupts",
    "uapi.data",
    "uapi.lifetime",
    "work.alone",
    "work.interrupts",
    "reset.runs",
    "reset.fresh",
];

/// What the release of the kernel with runtime checks has.
const DEBUG: &str = "-debug";

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    if kernel_release()?.contains(DEBUG) {
        let reason = "mtty accesses what is beyond its array, which stops this kernel";
        return Ok(Outcome::Skipped {
            reason: reason.into(),
        });
    }
    let choice = Choice {
        seed: 1,
        ..Choice::default()
    };
    let report = front::one(ctx, &Source::Sample(MODULE), &choice)?;
    let mut wrong = Vec::new();
    for finding in &report.findings {
        let rule = finding.rule.as_str();
        match (finding.is_violated(), VIOLATED.contains(&rule)) {
            (true, false) => wrong.push(format!("{rule} is violated, too: {}", finding.shows())),
            (false, true) => wrong.push(format!("{rule} is not violated any more")),
            _ => {}
        }
    }
    Ok(match wrong.as_slice() {
        [] => Outcome::Passed,
        wrong => Outcome::Failed {
            reason: wrong.join("\n"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::rule;

    const PAGE: &str = include_str!("../../../../Documentation/findings.md");

    #[test]
    fn the_page_lists_what_it_violates() {
        let chapter = PAGE.split("\n## ").find(|chapter| {
            let title = chapter.lines().next().unwrap_or_default();
            title.ends_with("What mainline's mtty sample violates")
        });
        let rows = chapter.unwrap().lines().filter(|line| line.contains('.'));
        let cells = rows.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let mut listed: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).collect();
        let mut violated = VIOLATED.to_vec();
        listed.sort_unstable();
        violated.sort_unstable();
        assert_eq!(listed, violated);
        assert!(VIOLATED.iter().all(|rule| rule::find(rule).is_some()));
    }
}
