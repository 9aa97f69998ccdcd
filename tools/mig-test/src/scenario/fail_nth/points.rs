// SPDX-License-Identifier: GPL-2.0
//! The points at which one call can fail, one after the other: allocations, and copies from and to
//! user space. The kernel's fault injection makes them fail
//! (Documentation/fault-injection/fault-injection.rst).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::io::{pread, pwrite, Errno};
use serde::Serialize;

use crate::scenario::Ctx;

/// The number of this thread's next allocation or copy that fails; 0 once it has.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
const SYMBOLS: &str = "/proc/kallsyms";
const DEBUGFS: &str = "/sys/kernel/debug";
/// What else decides whether an allocation fails: those that may sleep must, too.
const SETTINGS: [(&str, &str); 7] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_usercopy/verbose", "0"),
];
/// What each way to fail has two settings of: where the function is in which nothing fails.
const WAYS: [&str; 3] = ["failslab", "fail_page_alloc", "fail_usercopy"];
/// What a call may say of an allocation, or of a copy; and the kernel of memory that this program
/// shares with it for the call, if that has no inode.
const ERRNOS: [(Errno, &str); 3] = [
    (Errno::NOMEM, "ENOMEM"),
    (Errno::FAULT, "EFAULT"),
    (Errno::NOSPC, "ENOSPC"),
];
/// So many points of a call fail one after the other; then every [`STRIDE`]th, up to the last ones:
/// a call that makes thousands of allocations makes equal ones.
const EACH: u32 = 200;
const STRIDE: u32 = 127;

/// The points of one call.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The call.
    call: String,
    /// How many points it has.
    points: u32,
    /// How many of them were made to fail.
    failed: u32,
    /// At how many of these it has succeeded nevertheless.
    succeeded: u32,
    /// What it has said at the others.
    errnos: BTreeSet<&'static str>,
}

/// Makes calls fail.
pub struct Points<'a, 'b> {
    ctx: &'a mut Ctx<'b>,
    fail_nth: File,
    rows: Vec<Row>,
}

impl<'a, 'b> Points<'a, 'b> {
    /// Prepares the failures of this thread; `None` if this kernel has none.
    pub fn of_this_thread(ctx: &'a mut Ctx<'b>) -> Result<Option<Self>> {
        let is_offered = SETTINGS.iter().all(|(name, _)| setting(name).exists());
        if !is_offered || !setting(&format!("{}/reject-start", WAYS[0])).exists() {
            return Ok(None);
        }
        for (name, value) in SETTINGS {
            set(name, value)?;
        }
        let fail_nth = File::options().read(true).write(true).open(FAIL_NTH);
        Ok(Some(Points {
            ctx,
            fail_nth: fail_nth.context(FAIL_NTH)?,
            rows: Vec::new(),
        }))
    }

    /// Lets nothing fail in `function`, and whatever it calls, in place of the last such function.
    pub fn spare(&self, function: &str) -> Result<()> {
        let Range { start, end } = place(function)?;
        for way in WAYS {
            set(&format!("{way}/reject-start"), &format!("{start:#x}"))?;
            set(&format!("{way}/reject-end"), &format!("{end:#x}"))?;
        }
        Ok(())
    }

    /// Makes `call` fail at each of its points, each time with something else of `prepare`, which
    /// goes to `after` with the call's answer.
    pub fn of<S>(
        &mut self,
        name: impl Into<String>,
        prepare: impl Fn() -> Result<S>,
        call: impl Fn(&mut S) -> Result<(), Errno>,
        after: impl Fn(S, Result<(), Errno>) -> Result<()>,
    ) -> Result<()> {
        let name = name.into();
        self.ctx.step(&name);
        let mut row = Row {
            call: name.clone(),
            points: 0,
            failed: 0,
            succeeded: 0,
            errnos: BTreeSet::new(),
        };
        // The first time without a failure, which also brings what the program touches then.
        let (mut nth, mut step) = (0, 1);
        loop {
            let what = || format!("{name}, failing at point {nth}");
            let mut state = prepare().with_context(what)?;
            let (answer, has_failed) = self.at(nth, || call(&mut state));
            if let Err(errno) = answer {
                let clean = ERRNOS
                    .iter()
                    .find(|(clean, _)| has_failed && *clean == errno);
                let (_, name) = clean.with_context(|| format!("{}: it says {errno}", what()))?;
                row.errnos.insert(name);
            }
            after(state, answer).with_context(what)?;
            if has_failed {
                row.points = nth;
                row.failed += 1;
                row.succeeded += u32::from(answer.is_ok());
                if nth == EACH {
                    step = STRIDE;
                }
            } else if nth > 0 && step == 1 {
                self.rows.push(row);
                return Ok(());
            } else if nth > 0 {
                // Too far: the last points follow the last that has failed.
                (nth, step) = (row.points, 1);
            }
            nth += step;
        }
    }

    /// Reports what was found.
    pub fn report(self) -> Result<()> {
        self.ctx.report(self.rows)
    }

    /// Makes `call`, whose point number `nth` fails; returns its answer, and whether it has such a
    /// point.
    fn at<R>(&self, nth: u32, call: impl FnOnce() -> R) -> (R, bool) {
        let number = nth.to_string();
        let armed = pwrite(&self.fail_nth, number.as_bytes(), 0);
        let answer = call();
        let mut left = [0; 8];
        // The copies of these two are points, too: then the call has fewer.
        let read = pread(&self.fail_nth, &mut left, 0);
        let _ = pwrite(&self.fail_nth, b"0", 0);
        let has_failed = nth > 0 && armed.is_ok() && read.is_ok() && left.starts_with(b"0");
        (answer, has_failed)
    }
}

fn setting(name: &str) -> PathBuf {
    Path::new(DEBUGFS).join(name)
}

fn set(name: &str, value: &str) -> Result<()> {
    let path = setting(name);
    fs::write(&path, value).with_context(|| format!("{}", path.display()))
}

/// Returns where a function of the kernel is.
fn place(function: &str) -> Result<Range<u64>> {
    let table = fs::read_to_string(SYMBOLS).context(SYMBOLS)?;
    let symbols = table.lines().filter_map(|line| {
        let (address, rest) = line.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some((address, rest.split_whitespace().nth(1)?))
    });
    let symbols: Vec<_> = symbols.collect();
    let found = symbols.iter().find(|(_, name)| *name == function);
    let (start, _) = *found.with_context(|| format!("{function} is not in {SYMBOLS}"))?;
    let behind = symbols.iter().map(|(address, _)| *address);
    let end = behind.filter(|address| *address > start).min();
    Ok(start..end.context("nothing is behind it")?)
}
