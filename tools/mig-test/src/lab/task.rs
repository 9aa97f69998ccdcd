// SPDX-License-Identifier: GPL-2.0
//! Runs programs that change the cache, so that nothing they start outlives this process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::pipe::{pipe_with, PipeFlags};

use crate::progress::Progress;

/// The number of lines of a program's output in an error.
const TAIL: usize = 20;

/// Returns a command in mount and PID namespaces of its own. When this process dies, even by
/// SIGKILL, everything in them dies, and their mounts vanish.
pub fn contained() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .arg("--mount-proc")
        .arg("--");
    command
}

/// A program that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} failed ({status}):\n{tail}\nThe whole output is in {log}.")]
pub struct Failed {
    what: String,
    status: std::process::ExitStatus,
    /// The relevant part of its output.
    pub tail: String,
    log: String,
}

/// Runs `command` to its end. Both outputs go to the file `log`, the latest line to `progress`.
/// Returns the whole output.
pub fn run(what: &str, mut command: Command, log: &Path, progress: &Progress) -> Result<String> {
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    // The command holds the writing end of the pipe: without it, the output ends.
    drop(command);
    let mut output = String::new();
    let mut reader = BufReader::new(File::from(reader));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        file.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        progress.detail(&text);
        output.push_str(&text);
        line.clear();
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(output);
    }
    let tail = telling(&output);
    Err(Failed {
        what: what.into(),
        status,
        tail,
        log: log.display().to_string(),
    }
    .into())
}

/// Returns the relevant lines of a failed program: from the first error on, or the last ones.
fn telling(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let is_error = |line: &&str| {
        line.starts_with("error") || line.starts_with("E: ") || line.contains(": error:")
    };
    let last = lines.len().saturating_sub(TAIL);
    let start = lines.iter().position(is_error).unwrap_or(last);
    lines[start..]
        .iter()
        .take(TAIL)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compilers_first_error_is_shown_and_not_what_make_says_after_it() {
        let after = "make: Error 1\n".repeat(50);
        let told = telling(&format!("CC a.o\na.c:1:2: error: no\n{after}"));
        assert!(told.starts_with("a.c:1:2: error: no\nmake"));
        assert_eq!(told.lines().count(), TAIL);
    }

    #[test]
    fn without_an_error_the_last_lines_are_shown() {
        let lines: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(telling(&lines.join("\n")), lines[100 - TAIL..].join("\n"));
        assert_eq!(telling(""), "");
    }

    #[test]
    fn a_failed_program_is_reported_with_its_words_and_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo to stdout; echo to stderr >&2; exit 3"]);
        let error = run("it", command, &log, &Progress::start("it"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("it failed (exit status: 3):\nto stdout\nto stderr\n"),
            "{error}"
        );
        assert_eq!(
            std::fs::read_to_string(log).unwrap(),
            "to stdout\nto stderr\n"
        );
    }
}
