// SPDX-License-Identifier: GPL-2.0
//! The command `mig-test compat`: whether a device would load what another one saves, from what
//! both hosts show in sysfs (Documentation/ABI/testing/sysfs-bus-mdev-migration).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

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
}

/// Compares the two, as the destination does in a migration.
pub fn run(args: &CompatArgs) -> Result<()> {
    let (source, destination) = (read(&args.source)?, read(&args.destination)?);
    if let Some(mismatch) = destination.mismatch(&source) {
        bail!("not compatible: {mismatch}");
    }
    progress::print(&format!(
        "compatible: {} loads what {} saves\n",
        args.destination, args.source
    ));
    Ok(())
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
