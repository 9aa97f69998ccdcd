// SPDX-License-Identifier: GPL-2.0
//! What is to be done with which device: what the options say, or one of the examples.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mig_common::modules::{OWN, PROGRAM};
use regex_lite::Regex;

use super::{FAIL, GUEST, MOVES, OK, READY};
use crate::scenario::conformance::source::{MDEV, MODULES};
use crate::scenario::Ctx;

/// An example of Documentation/examples, which this program drives in a guest.
pub struct Example {
    /// Its module.
    pub module: &'static str,
    /// The type of its device.
    pub mdev: &'static str,
    /// How often the guest moves, unless an option says otherwise.
    pub moves: usize,
}

/// What is to be done.
pub struct Order<'a> {
    pub modules: Vec<&'a str>,
    pub mdev: &'a str,
    pub ready: Option<Regex>,
    pub ok: Option<Regex>,
    pub fail: Option<Regex>,
    pub moves: usize,
    pub files: Vec<(String, Vec<u8>)>,
}

impl<'a> Order<'a> {
    /// Returns what the options say; without them, what is done with the example.
    pub fn of(ctx: &'a Ctx, example: &'a Example) -> Result<Order<'a>> {
        let option = |name: &str| ctx.options.get(name).map(String::as_str);
        let words = |name: &str| option(name).map(regex).transpose();
        let moves = option(MOVES).map_or(Ok(example.moves), str::parse);
        let moves = moves.ok().filter(|moves| *moves > 0);
        let moves = moves.with_context(|| format!("{MOVES} is a number from 1 on"))?;
        let Some(mdev) = option(MDEV) else {
            return Ok(Order {
                modules: vec![example.module],
                mdev: example.mdev,
                ready: Some(regex("[1-9][0-9]* rounds, 0 wrong")?),
                ok: Some(regex("rounds, 0 wrong")?),
                fail: Some(regex(" has 0x|[1-9][0-9]* wrong")?),
                moves,
                files: vec![
                    (OWN.into(), Vec::new()),
                    (PROGRAM.into(), fs::read(ctx.job.join("mig-guest"))?),
                ],
            });
        };
        Ok(Order {
            modules: option(MODULES)
                .into_iter()
                .flat_map(|all| all.split(','))
                .collect(),
            mdev,
            ready: words(READY)?,
            ok: words(OK)?,
            fail: words(FAIL)?,
            moves,
            files: files(&ctx.job.join(GUEST))?,
        })
    }
}

/// Reads the files of a folder.
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push((name, fs::read(entry.path())?));
    }
    Ok(files)
}

/// Compiles a regular expression. The error says what is wrong with it.
pub fn regex(text: &str) -> Result<Regex> {
    Regex::new(text).with_context(|| format!("\"{text}\" is no regular expression"))
}
