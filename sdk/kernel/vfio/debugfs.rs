// SPDX-License-Identifier: GPL-2.0

//! What debugfs shows of a device, in a file with the name of its mdev, in the folder of its
//! driver. Documentation/tracing.md describes it.
//!
//! A read waits for no lock that user space can hold: while the session is in use, what it protects
//! is left out.

use crate::{
    driver::Operations,
    memory::Pins,
    migration::{MigrationState, Protocol},
};
use core::convert::Infallible;
use kernel::{
    debugfs::{Dir, File},
    fmt,
    prelude::*,
    sync::Arc,
};
use mdev_model::state::State;

/// What the file of a device reads.
pub(super) struct Device<O: Operations> {
    migration: Arc<MigrationState<O>>,
    pins: Arc<Pins>,
}

/// Creates the file `name` in `folder`; it is removed when it is dropped.
pub(super) fn file<'a, O: Operations>(
    folder: &'a Dir,
    name: &'a CStr,
    migration: Arc<MigrationState<O>>,
    pins: Arc<Pins>,
) -> impl PinInit<File<Device<O>>, Infallible> + 'a {
    folder.read_callback_file(name, Device { migration, pins }, &show::<O>)
}

fn show<O: Operations>(device: &Device<O>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Device { migration, pins } = device;
    let state = State::from_raw(migration.state()).map_or("unknown", State::name);
    f.write_fmt(format_args!("state {state}\n"))?;
    if let Some(session) = migration.summary() {
        let owner = match session.owner {
            None => "none",
            Some(Protocol::V1) => "v1",
            Some(Protocol::V2) => "v2",
        };
        f.write_fmt(format_args!("owner {owner}\nsession {}\n", session.number))?;
        match session.stop_copy_length {
            Ok(bytes) => f.write_fmt(format_args!("open yes\nstop_copy_size {bytes}\n"))?,
            Err(_) => f.write_str("open no\n")?,
        }
        if let Some(interrupts) = session.interrupts {
            f.write_fmt(format_args!("interrupts {interrupts:?}\n"))?;
        }
    }
    let pinned = pins.summary();
    f.write_fmt(format_args!(
        "pins {}\npinned_pages {}\nquiesced {}\nlog {}\n",
        pinned.ranges,
        pinned.pages,
        yes(pinned.quiesced),
        yes(pinned.logged),
    ))
}

fn yes(is: bool) -> &'static str {
    if is {
        "yes"
    } else {
        "no"
    }
}
