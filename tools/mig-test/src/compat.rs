// SPDX-License-Identifier: GPL-2.0
//! The command `mig-test compat`: whether a device would load what another one saves, from what
//! both hosts show in sysfs (Documentation/ABI/testing/sysfs-bus-mdev-migration).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;
use mdev_model::stream::{BadKey, Compatibility};
use rustix::io::Errno;

use crate::failure::unusable;
use crate::mdev::{DEVICES, PARENTS};
use crate::progress;

/// The most bytes of a text: sysfs has no longer ones.
const LONGEST: u64 = 4096;

/// The two sides.
#[derive(Args)]
pub struct CompatArgs {
    /// What would save: a UUID or PARENT/TYPE of this host, a file with the text that another host
    /// has for one, or - for standard input
    source: String,
    /// What would load it, in the same way
    destination: String,

    /// Also say how fast what the source would transfer changes, over so many seconds: in
    /// PRE_COPY it falls as long as the migration converges
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    rate: Option<u64>,
}

/// Compares the two, as the destination does in a migration.
pub fn run(args: &CompatArgs) -> Result<()> {
    let (source, destination) = (read(&args.source)?, read(&args.destination)?);
    let stop_phase = stop_phase(&args.source, args.rate)?;
    if let Some(mismatch) = destination.mismatch(&source) {
        bail!("not compatible: {mismatch}");
    }
    progress::print(&format!(
        "compatible: {} loads what {} saves\n{stop_phase}",
        args.destination, args.source
    ));
    Ok(())
}

/// Says how long the stop phase of `mdev` is, as far as that is known, and how fast that changes
/// over `rate` seconds.
pub fn stop_phase(mdev: &str, rate: Option<u64>) -> Result<String> {
    let file = Path::new(DEVICES)
        .join(mdev)
        .join("migration/stop_copy_size");
    match (file.exists(), rate) {
        (true, _) => {}
        (false, None) => return Ok(String::new()),
        (false, Some(_)) => unusable!(
            "{mdev} is no mdev of this host, so nobody knows what it would transfer. \
             Leave out --rate, or name an mdev by its UUID."
        ),
    }
    let size = || -> Result<i128> {
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => unusable!(
                "the migration state of {mdev} is being changed or transferred. Try again."
            ),
            Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
        };
        text.trim().parse().context("a size that is no number")
    };
    let first = match size() {
        Err(error) if is_closed(&error) => {
            return Ok(format!(
                "{mdev} is not in use, so it has nothing to transfer\n"
            ))
        }
        first => first?,
    };
    let now = |size| format!("{mdev} would transfer {size} bytes if it was stopped now\n");
    let Some(seconds) = rate else {
        return Ok(now(first));
    };
    let begin = Instant::now();
    thread::sleep(Duration::from_secs(seconds));
    let last = size()?;
    let rate = (last - first) as f64 / begin.elapsed().as_secs_f64();
    Ok(format!(
        "{}that has changed by {rate:+.0} bytes a second in the last {seconds} s\n",
        now(last)
    ))
}

/// Returns whether nobody has the device open whose size could not be read.
fn is_closed(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.and_then(Errno::from_io_error) == Some(Errno::NODEV)
}

/// Where the text of a type of a parent is.
pub fn of_type(parent: &str, kind: &str) -> PathBuf {
    Path::new(PARENTS)
        .join(parent)
        .join("match_data")
        .join(kind)
}

/// Where the text of what a command line names is.
fn path(what: &str) -> PathBuf {
    let of_mdev = Path::new(DEVICES).join(what).join("migration/match_data");
    let parts = what.split_once('/');
    let of_type = parts.map(|(parent, kind)| of_type(parent, kind));
    let in_sysfs = [Some(of_mdev), of_type].into_iter().flatten();
    let found = in_sysfs.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| what.into())
}

/// Reads one side.
fn read(what: &str) -> Result<Compatibility> {
    let mut text = String::new();
    let read = match what {
        "-" => io::stdin().take(LONGEST).read_to_string(&mut text),
        _ => File::open(path(what)).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    match read {
        Ok(_) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODATA) => unusable!(
            "{what} has a stream without match data, so nothing can be compared before a migration. \
             Try a type whose stream is that of the SDK."
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => unusable!(
            "{what} is no mdev of this host with match data, no PARENT/TYPE, and no file. \
             See /sys/class/mdev_bus/*/match_data for the types."
        ),
        Err(error) => return Err(error).with_context(|| format!("read {what}")),
    }
    parse(what, &text)
}

fn parse(what: &str, text: &str) -> Result<Compatibility> {
    text.parse().or_else(|BadKey(key)| {
        unusable!(
            "{what} is no match data: it has no {key}, or not one that can be. \
             Copy the whole of the other host's file."
        )
    })
}
