// SPDX-License-Identifier: GPL-2.0
//! Progress reports: an updating line on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The updating lines, one for each concurrent activity.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints results without mixing them with the updating lines.
pub fn print(text: &str) {
    // A reader that has closed the pipe, as `grep -q` does, has what it wanted.
    let _ = BARS.suspend(|| io::stdout().write_all(text.as_bytes()));
}

fn say(text: &str) {
    BARS.suspend(|| eprintln!("{text}"));
}

/// One activity. Its drop without [`Progress::done`] removes the line.
pub struct Progress {
    what: String,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts `what`, a phrase such as "building the kernel modules".
    pub fn start(what: impl Into<String>) -> Self {
        let progress = Progress::unless_piped(what);
        if progress.bar.is_none() {
            say(&format!("{} ...", progress.what));
        }
        progress
    }

    /// The same for what is reported elsewhere: prints on a terminal only.
    pub fn unless_piped(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = io::stderr().is_terminal().then(|| {
            let bar = BARS.add(ProgressBar::new_spinner().with_message(what.clone()));
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed}) {prefix:.dim}");
            bar.set_style(style.expect("a valid template"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress {
            what,
            start: Instant::now(),
            bar,
        }
    }

    /// Shows the latest state of the work, on a terminal only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            let width = 60;
            bar.set_prefix(text.trim().chars().take(width).collect::<String>());
        }
    }

    /// Reports that a part of the work has begun.
    pub fn step(&self, text: &str) {
        match &self.bar {
            Some(_) => self.detail(text),
            None => say(&format!("{}: {text}", self.what)),
        }
    }

    /// Ends it as successful.
    pub fn done(self) {
        self.end("done in");
    }

    /// Ends it as failed; the caller reports the reason.
    pub fn failed(self) {
        self.end("failed after");
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }

    fn end(self, how: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.clear();
        say(&format!("{}: {how} {seconds:.1} s", self.what));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
