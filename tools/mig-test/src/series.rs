// SPDX-License-Identifier: GPL-2.0
//! Runs the same scenarios many times in a row, each time in a freshly booted VM, and counts the
//! failures.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{bail, Result};
use clap::builder::RangedU64ValueParser;
use clap::Args;
use serde::Serialize;

use crate::event::{Event, Outcome};
use crate::failure::is_unusable;
use crate::lab::job::{self, News, Verdict, Watch};
use crate::lab::Lab;
use crate::progress::Progress;

/// The number of turns, and the load of this machine.
#[derive(Args)]
pub struct SeriesArgs {
    /// Run it this many times in a row, each time in a VM that has just booted, and count
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000))]
    pub times: Option<u32>,
    /// Keep this machine busy meanwhile, with that many threads in endless loops
    #[arg(long, value_name = "M", default_value_t = 0,
        value_parser = RangedU64ValueParser::<u16>::new().range(0..=256))]
    pub load: u16,
    /// Do not go on once something has failed
    #[arg(long, requires = "times")]
    pub stop_at_failure: bool,
}

/// Threads that spin, at normal priority, until this is dropped. They belong to this process, so
/// they cannot outlive it, and share its resources.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts a number of threads.
    pub fn start(threads: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let stop = stop.clone();
            thread::spawn(move || {
                let mut turns = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    turns = black_box(turns.wrapping_add(1));
                }
            })
        };
        let threads = (0..threads).map(spin).collect();
        Load { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to panic about.
            let _ = thread.join();
        }
    }
}

/// One run of all scenarios.
#[derive(Debug, Serialize)]
pub struct Turn {
    turn: u32,
    seconds: f64,
    /// The reason why it ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    scenarios: Vec<Verdict>,
}

impl Turn {
    /// Returns one line for each failure.
    fn failures(&self) -> Vec<String> {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let failed = self
            .scenarios
            .iter()
            .filter_map(|verdict| match &verdict.outcome {
                Outcome::Failed { reason } => {
                    Some(format!("{}: {}", verdict.scenario, first(reason)))
                }
                _ => None,
            });
        failed
            .chain(self.error.iter().map(|error| first(error)))
            .collect()
    }

    fn is_skipped(&self) -> bool {
        let skipped = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Skipped { .. });
        self.error.is_none() && self.scenarios.iter().all(skipped)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds;
        match self.failures().as_slice() {
            [] if self.is_skipped() => write!(f, "skipped"),
            [] => write!(f, "passed in {seconds:.1} s"),
            failures => write!(f, "failed after {seconds:.1} s: {}", failures.join("; ")),
        }
    }
}

/// The results of all turns.
#[derive(Debug, PartialEq, Serialize)]
pub struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// The duration of a turn, from before its VM boots until after the VM has powered off.
    min_s: f64,
    median_s: f64,
    max_s: f64,
}

impl Counts {
    fn of(turns: &[Turn]) -> Self {
        let mut seconds: Vec<f64> = turns.iter().map(|turn| turn.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |index: usize| seconds.get(index).copied().unwrap_or_default();
        let failed = turns
            .iter()
            .filter(|turn| !turn.failures().is_empty())
            .count();
        let skipped = turns.iter().filter(|turn| turn.is_skipped()).count();
        Counts {
            passed: turns.len() - failed - skipped,
            failed,
            skipped,
            min_s: at(0),
            median_s: at(seconds.len() / 2),
            max_s: at(seconds.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.passed + self.failed + self.skipped;
        write!(f, "{} of {all} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        let Counts {
            min_s,
            median_s,
            max_s,
            ..
        } = self;
        write!(
            f,
            "; a turn took {min_s:.1} s at least, {median_s:.1} s in the median, {max_s:.1} s at most"
        )
    }
}

/// Runs `once` a number of times, prints a line for each and then the counts, and keeps the files
/// of the first failure. After each turn, passes all turns to `report`. Returns an error if any
/// failed.
pub fn run(
    lab: &Lab,
    times: u32,
    stop_at_failure: bool,
    once: &mut dyn FnMut(&mut Watch<'_>) -> Result<Vec<Verdict>>,
    report: &mut dyn FnMut(&[Turn], &Counts) -> Result<()>,
) -> Result<()> {
    let mut turns = Vec::new();
    for turn in 1..=times {
        job::forget_files(lab)?;
        let what = format!("turn {turn} of {times}");
        let progress = Progress::unless_piped(&what);
        let start = Instant::now();
        let result = once(&mut |news| match news {
            News::Boot => progress.detail("booting the lab VM"),
            News::Event(Event::Begin { scenario: text } | Event::Step { text }) => {
                progress.detail(text);
            }
            News::Event(_) => {}
        });
        drop(progress);
        let (scenarios, error) = match result {
            Ok(verdicts) => (verdicts, None),
            // The next turn would not even begin either.
            Err(error) if is_unusable(&error) => return Err(error),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        let turn = Turn {
            turn,
            seconds: start.elapsed().as_secs_f64(),
            error,
            scenarios,
        };
        println!("{what}: {turn}");
        let failed = !turn.failures().is_empty();
        turns.push(turn);
        let counts = Counts::of(&turns);
        if failed && counts.failed == 1 {
            let kept = job::keep_files(lab)?;
            println!("The files of this first failure are in {}.", kept.display());
        }
        report(&turns, &counts)?;
        if failed && stop_at_failure {
            break;
        }
    }
    let counts = Counts::of(&turns);
    println!("{counts}");
    if counts.failed > 0 {
        bail!("{} of {} turns failed", counts.failed, turns.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        series: SeriesArgs,
    }

    fn turn(turn: u32, seconds: f64, outcome: Outcome) -> Turn {
        let verdict = Verdict {
            scenario: "demo".into(),
            outcome,
            figures: Vec::new(),
        };
        Turn {
            turn,
            seconds,
            error: None,
            scenarios: vec![verdict],
        }
    }

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed {
            reason: reason.into(),
        }
    }

    #[test]
    fn both_numbers_are_bounded_and_stopping_early_wants_turns() {
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["x"], words].concat()).map(|cli| {
                let SeriesArgs { times, load, .. } = cli.series;
                (times, load)
            })
        };
        assert_eq!(parse(&[]).unwrap(), (None, 0));
        assert_eq!(
            parse(&["--times", "100", "--load", "4", "--stop-at-failure"]).unwrap(),
            (Some(100), 4)
        );
        for wrong in [
            &["--times", "0"][..],
            &["--times", "10001"],
            &["--load", "257"],
            &["--load", "-1"],
            &["--stop-at-failure"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_turn_is_a_line_however_long_the_reason() {
        let passed = turn(1, 61.25, Outcome::Passed);
        assert_eq!(passed.to_string(), "passed in 61.2 s");
        let broken = turn(2, 3.0, failed("silent\nconsole:\n..."));
        assert_eq!(broken.to_string(), "failed after 3.0 s: demo: silent");
        let no_vm = Turn {
            error: Some("the lab VM did not come up\nmore".into()),
            scenarios: Vec::new(),
            ..turn(3, 180.0, Outcome::Passed)
        };
        assert_eq!(
            no_vm.to_string(),
            "failed after 180.0 s: the lab VM did not come up"
        );
    }

    #[test]
    fn turns_are_counted_and_their_times_ordered() {
        let reason = "no such QEMU".to_string();
        let turns = [
            turn(1, 9.0, Outcome::Passed),
            turn(2, 300.0, failed("silent")),
            turn(3, 7.0, Outcome::Passed),
            turn(4, 0.0, Outcome::Skipped { reason }),
        ];
        assert_eq!(
            Counts::of(&turns).to_string(),
            "2 of 4 passed, 1 failed, 1 skipped; a turn took 0.0 s at least, 9.0 s in the median, \
             300.0 s at most"
        );
        assert_eq!(
            Counts::of(&turns[..1]).to_string(),
            "1 of 1 passed, 0 failed; a turn took 9.0 s at least, 9.0 s in the median, 9.0 s at most"
        );
    }

    #[test]
    fn the_load_runs_until_it_is_dropped() {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let load = Load::start(2);
        assert!(threads() >= 3);
        let handles: Vec<bool> = load.threads.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(handles, [false, false]);
        let stop = load.stop.clone();
        drop(load);
        // Both threads have let go of it.
        assert_eq!(Arc::strong_count(&stop), 1);
    }
}
