// SPDX-License-Identifier: GPL-2.0
//! The checks of the source tree: tests and lints of the host side, and builds of the modules.

use std::process::Command;

use anyhow::{bail, Result};

use crate::counts::Counts;
use crate::lab::apart;
use crate::lab::modules::{self, Goal};
use crate::lab::{doc, format, run_logged, Choice, Kernel, Lab};
use crate::{first_hour, layout, patch_series};

/// A check of the source tree. One that runs many tests counts them.
pub type Check = fn(&Lab) -> Result<Done>;

/// The result of a check that did not fail.
pub enum Done {
    /// It passed.
    Passed,
    /// Its tests passed, with these counts.
    Tests(Counts),
    /// It could not run here, for this reason.
    Skipped(String),
}

/// The checks that need no module and no VM.
pub const HOST: [(&str, Check); 5] = [
    ("layout", |lab| {
        layout::check(&lab.project).map(|()| Done::Passed)
    }),
    ("patch-series", patch_series),
    ("host-tests", host_tests),
    ("host-clippy", host_clippy),
    ("rustfmt", |lab| format::check(lab).map(|()| Done::Passed)),
];

/// The checks that build modules for VMs; they run before the first VM boots.
pub const BUILDS: [(&str, Check); 2] = [
    ("modules-without-warnings", |lab| {
        modules::without_warnings(lab, lab.default_kernel()).map(|()| Done::Passed)
    }),
    ("vendor-guide", vendor_guide),
];

/// The checks that use the folders of modules, after [`BUILDS`].
pub const MODULES: [(&str, Check); 5] = [
    ("first-hour", |lab| {
        first_hour::check(lab).map(|()| Done::Passed)
    }),
    ("modules-clippy", |lab| {
        modules::strict(lab, lab.default_kernel(), Goal::Clippy).map(|()| Done::Passed)
    }),
    ("documentation", |lab| {
        doc::write(lab, lab.default_kernel()).map(|_| Done::Passed)
    }),
    ("examples", |lab| examples(lab, lab.default_kernel())),
    ("modules-of-other-kernels", other_kernels),
];

/// The error if some of many tests fail.
#[derive(Debug, thiserror::Error)]
#[error("{output}")]
pub struct TestsFailed {
    /// The counts.
    pub counts: Counts,
    output: String,
}

fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn host_tests(lab: &Lab) -> Result<Done> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--color", "never"]);
    command.current_dir(&lab.project);
    let (ok, output) = run_logged(lab, "testing the host side", "cargo-test", command)?;
    tests(ok, &output, failures)
}

/// Every example in the comments of the SDK compiles.
pub fn examples(lab: &Lab, kernel: Kernel) -> Result<Done> {
    let (ok, output) = doc::examples(lab, kernel)?;
    tests(ok, &output, |output| doc::failures(output).to_owned())
}

/// How the tests went whose programs succeeded, or did not, and printed `output`; `telling` is the
/// part of that which says what went wrong.
fn tests(ok: bool, output: &str, telling: fn(&str) -> String) -> Result<Done> {
    let counts = count(output);
    match (ok, counts.failed) {
        (true, 0) if counts.passed == 0 => bail!("no test ran"),
        (true, _) => Ok(Done::Tests(counts)),
        (false, failed) => {
            let counts = Counts {
                failed: failed.max(1),
                ..counts
            };
            let output = telling(output);
            Err(TestsFailed { counts, output }.into())
        }
    }
}

/// Adds up the result lines of all test programs.
fn count(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed;" => counts.passed += number,
                "failed;" => counts.failed += number,
                "ignored;" => counts.skipped += number,
                _ => {}
            }
        }
    }
    counts
}

/// Returns the relevant part of the output: errors of the compiler, or failed tests.
fn failures(output: &str) -> String {
    let telling = |line: &&str| {
        line.starts_with("error")
            || line.ends_with("... FAILED")
            || line.contains("panicked at")
            || line.starts_with("  left:")
            || line.starts_with(" right:")
    };
    let lines: Vec<&str> = output.lines().filter(telling).take(60).collect();
    lines.join("\n")
}

/// Checks that the examples build in trees of their own, and that the guide quotes its driver.
fn vendor_guide(lab: &Lab) -> Result<Done> {
    let mut command = Command::new("sh");
    command.arg(lab.project.join("Documentation/examples/check-guide"));
    let (ok, output) = run_logged(lab, "comparing the vendor guide", "check-guide", command)?;
    if !ok {
        bail!("{}", output.trim());
    }
    for example in &apart::EXAMPLES {
        modules::build_ours(lab, lab.default_kernel(), example, Goal::Modules)?;
    }
    Ok(Done::Passed)
}

/// Checks that the same source also builds for the other series: the modules, the tests' modules,
/// the drivers in Documentation/examples, and the examples in comments.
fn other_kernels(lab: &Lab) -> Result<Done> {
    let others = Kernel::STOCK.into_iter();
    for kernel in others.filter(|kernel| *kernel != lab.default_kernel()) {
        if let Some(reason) = lab.lacks(lab.platform(Choice::kernel(kernel))) {
            return Ok(Done::Skipped(reason.into()));
        }
        modules::without_warnings(lab, kernel)?;
        for example in &apart::EXAMPLES {
            modules::build_ours(lab, kernel, example, Goal::Modules)?;
        }
        examples(lab, kernel)?;
    }
    Ok(Done::Passed)
}

/// The patch series applies to a kernel's tree, and is complete.
fn patch_series(lab: &Lab) -> Result<Done> {
    if Command::new("git").arg("--version").output().is_err() {
        return Ok(Done::Skipped(
            "git is not installed, and makes the patches: apt install git".into(),
        ));
    }
    patch_series::check(&lab.project, &lab.target.join("patch-series"))?;
    Ok(Done::Passed)
}

fn host_clippy(lab: &Lab) -> Result<Done> {
    if !cargo(&["clippy", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Ok(Done::Skipped(
            "cargo clippy is not installed: rustup component add clippy, or apt install rust-clippy"
                .into(),
        ));
    }
    let mut command = cargo(&["clippy", "--workspace", "--all-targets", "--color", "never"]);
    command
        .args(["--", "-D", "warnings"])
        .current_dir(&lab.project);
    let (ok, output) = run_logged(
        lab,
        "running clippy on the host side",
        "cargo-clippy",
        command,
    )?;
    if !ok {
        bail!("{}", failures(&output));
    }
    Ok(Done::Passed)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_counts_of_all_test_programs_are_added_up() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            count(output),
            Counts {
                passed: 5,
                failed: 4,
                skipped: 1
            }
        );
    }

    #[test]
    fn the_reproducers_compile() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Documentation/reproducers");
        let files = fs::read_dir(&folder).unwrap();
        let mut sources: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        assert!(!sources.is_empty(), "no source in {}", folder.display());
        let options = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"];
        let output = Command::new("cc").args(options).args(&sources).output();
        let output = output.expect("cc compiles C");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    #[test]
    fn a_failed_test_is_found_in_the_output() {
        let output = "test a ... ok\ntest b ... FAILED\nthread 'b' panicked at x.rs:1:2:\n";
        assert_eq!(
            failures(output),
            "test b ... FAILED\nthread 'b' panicked at x.rs:1:2:"
        );
    }
}
