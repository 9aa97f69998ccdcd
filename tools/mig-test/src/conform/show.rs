// SPDX-License-Identifier: GPL-2.0
//! Prints reports: as a table, as KTAP, as JUnit and as JSON.

use anyhow::Result;
use clap::ValueEnum;
use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::report::{Finding, Report, Verdict};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// The kernel's TAP.
    Ktap,
    /// JUnit's XML, for build servers.
    Junit,
    /// JSON, with everything.
    Json,
}

/// Returns the text of reports, with a line feed at its end.
pub fn text(reports: &[Report], format: Format) -> Result<String> {
    Ok(match format {
        Format::Table => reports.iter().map(table).collect::<Vec<_>>().join("\n"),
        Format::Ktap => ktap(reports),
        Format::Junit => junit(reports)?,
        Format::Json => serde_json::to_string_pretty(reports)? + "\n",
    })
}

fn table(report: &Report) -> String {
    let width = report
        .findings
        .iter()
        .map(|finding| finding.rule.len())
        .max()
        .unwrap_or(0);
    let mut text = format!("{}\n", report.device);
    for finding in &report.findings {
        let (word, more) = match &finding.verdict {
            Verdict::Passed => ("ok", String::new()),
            Verdict::Skipped { reason } => ("SKIP", format!("\n        {reason}")),
            Verdict::Failed { shows } => {
                let severity = finding.severity.words();
                let shows = shows.replace('\n', "\n        ");
                (
                    "FAIL",
                    format!(
                        "\n        {severity}: {shows}\n        source: {}",
                        finding.source
                    ),
                )
            }
        };
        text += &format!(
            "  {word:4} {:width$}  {}{more}\n",
            finding.rule, finding.says
        );
    }
    let (violated, all) = (report.violated(), report.findings.len());
    let advice = match report.failed().len() - violated {
        0 => String::new(),
        more => format!(", and {more} of advice"),
    };
    text += &format!("\n{violated} of {all} rules violated{advice}\n");
    text + "exercised: " + &report.coverage.line() + "\n"
}

fn ktap(reports: &[Report]) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", reports.len());
    for (number, report) in (1..).zip(reports) {
        text += &format!("    KTAP version 1\n    1..{}\n", report.findings.len());
        for (number, finding) in (1..).zip(&report.findings) {
            let result = match &finding.verdict {
                Verdict::Passed => format!("ok {number} {}", finding.rule),
                Verdict::Skipped { reason } => {
                    format!("ok {number} {} # SKIP {}", finding.rule, one_line(reason))
                }
                Verdict::Failed { shows } => {
                    let (rule, shows) = (&finding.rule, one_line(shows));
                    match finding.is_violated() {
                        true => format!("not ok {number} {rule} # {shows}"),
                        false => format!("ok {number} {rule} # advice: {shows}"),
                    }
                }
            };
            text += &format!("    {result}\n");
        }
        let word = if report.violated() == 0 {
            "ok"
        } else {
            "not ok"
        };
        text += &format!(
            "# {}\n{word} {number} {}\n",
            report.coverage.line(),
            report.device
        );
    }
    text
}

fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}

fn junit(reports: &[Report]) -> Result<String> {
    let mut all = JUnit::new("mig-test conform");
    for report in reports {
        let mut suite = TestSuite::new(report.device.clone());
        suite.set_system_out(report.coverage.line());
        for finding in &report.findings {
            let mut case = TestCase::new(finding.rule.clone(), status(finding));
            case.set_classname(report.device.clone());
            if finding.is_failed() && !finding.is_violated() {
                case.set_system_out(format!("advice: {}", finding.shows()));
            }
            suite.add_test_case(case);
        }
        all.add_test_suite(suite);
    }
    Ok(all.to_string()?)
}

fn status(finding: &Finding) -> TestCaseStatus {
    match &finding.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Failed { .. } if !finding.is_violated() => TestCaseStatus::success(),
        Verdict::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.clone());
            status
        }
        Verdict::Failed { shows } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(finding.severity.words());
            status.set_message(format!("{} ({})", finding.says, finding.source));
            status.set_description(shows.clone());
            status
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advised() -> Report {
        let mut report = Report::new("card");
        report.fail("advice.exercise", "no exercise was given");
        report
    }

    #[test]
    fn advice_is_shown_and_is_no_failure() {
        let table = text(&[advised()], Format::Table).unwrap();
        assert!(table.contains("FAIL advice.exercise"), "{table}");
        assert!(
            table.contains("0 of 1 rules violated, and 1 of advice"),
            "{table}"
        );
        let ktap = text(&[advised()], Format::Ktap).unwrap();
        assert!(
            !ktap.contains("not ok") && ktap.contains("# advice: no"),
            "{ktap}"
        );
        let junit = text(&[advised()], Format::Junit).unwrap();
        assert!(
            junit.contains("failures=\"0\"") && junit.contains("advice: no"),
            "{junit}"
        );
    }

    fn report() -> Report {
        let mut report = Report::new("card");
        report.add("move.completes", Verdict::Passed);
        report.fail(
            "move.registers",
            "moved by STOP_COPY: 0:0x8 is 0x0\nand more",
        );
        let reason = "no BAR of the device is memory".into();
        report.add("move.device-memory", Verdict::Skipped { reason });
        report.coverage.moves = 3;
        report
    }

    #[test]
    fn a_table_says_the_rule_what_shows_it_and_where_it_is_written() {
        insta::assert_snapshot!(text(&[report()], Format::Table).unwrap(), @r"
        card
          ok   move.completes      No call of a migration fails, at whatever step of the work
          FAIL move.registers      A guest reads the same registers and configuration space with and without a move
                QEMU breaks: moved by STOP_COPY: 0:0x8 is 0x0
                and more
                source: QEMU, hw/vfio/migration.c
          SKIP move.device-memory  A guest finds the same in the device's memory with and without a move
                no BAR of the device is memory

        1 of 3 rules violated
        exercised: 3 moves; 0 of 0 ways; 0 of 0 state changes; 0 of 0 records bent; 0 of 0 bytes of registers; 0 of 0 interrupts; 0 bytes of stream; 0 bent streams
        ");
    }

    #[test]
    fn ktap_has_a_line_for_each_rule() {
        insta::assert_snapshot!(text(&[report()], Format::Ktap).unwrap(), @r"
        KTAP version 1
        1..1
            KTAP version 1
            1..3
            ok 1 move.completes
            not ok 2 move.registers # moved by STOP_COPY: 0:0x8 is 0x0; and more
            ok 3 move.device-memory # SKIP no BAR of the device is memory
        # 3 moves; 0 of 0 ways; 0 of 0 state changes; 0 of 0 records bent; 0 of 0 bytes of registers; 0 of 0 interrupts; 0 bytes of stream; 0 bent streams
        not ok 1 card
        ");
    }

    #[test]
    fn junit_and_json_hold_every_verdict() {
        let junit = text(&[report()], Format::Junit).unwrap();
        assert!(
            junit.contains("failures=\"1\"") && junit.contains("<skipped"),
            "{junit}"
        );
        let json = text(&[report()], Format::Json).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<Report>>(&json).unwrap(),
            [report()]
        );
    }
}
