// SPDX-License-Identifier: GPL-2.0
//! Terminals that transfer data unchanged.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::termios::{self, ControlModes, OptionalActions};

/// Opens a terminal that is not to become this program's own.
pub fn open(node: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NOCTTY).bits() as i32;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(node)
}

/// Makes it pass bytes unchanged, at a speed if there is one to set.
pub fn set_raw(tty: &File, speed: Option<u32>) -> io::Result<()> {
    let mut settings = termios::tcgetattr(tty)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    if let Some(speed) = speed {
        settings.set_speed(speed)?;
    }
    Ok(termios::tcsetattr(tty, OptionalActions::Now, &settings)?)
}
