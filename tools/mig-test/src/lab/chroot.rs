// SPDX-License-Identifier: GPL-2.0
//! Runs programs in a root file system without changing it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::task;

/// The places of the host's folders in a root, below a `/opt` of this process's own.
pub mod place {
    /// Kernel source and build tree.
    pub const KBUILD: &str = "/opt/kbuild";
    /// The project's source.
    pub const SOURCE: &str = "/opt/source";
    /// The source of modules that are built against the project's.
    pub const DRIVER: &str = "/opt/driver";
    /// The folder for results.
    pub const OUT: &str = "/opt/out";
    /// The folder for documentation.
    pub const DOC: &str = "/opt/doc";
    /// One of Debian's kernels with its modules, as the root of the lab VM has them.
    pub const KERNEL: &str = "/opt/kernel";
    /// The initramfs of the lab VM.
    pub const BOOT: &str = "/opt/boot";
    /// The root that the lab VM boots from.
    pub const ROOT: &str = "/opt/root";
    /// The root of a QEMU that the lab VM has in addition to that of its own root.
    pub const QEMU: &str = "/opt/qemu";
}

/// A root file system and the folders of the host that are mounted in it. Everything else in it is
/// read-only, except an empty `/tmp` and an `/opt` for those folders.
pub struct Chroot {
    root: PathBuf,
    binds: Vec<(PathBuf, &'static str, &'static str)>,
}

impl Chroot {
    /// Creates the root without folders of the host.
    pub fn new(root: &Path) -> Self {
        Chroot {
            root: root.into(),
            binds: Vec::new(),
        }
    }

    /// Mounts `from` read-only at `to`, one of [`place`].
    pub fn reading(self, from: &Path, to: &'static str) -> Self {
        self.bind(from, to, "ro")
    }

    /// Mounts `from` writable at `to`, one of [`place`].
    pub fn writing(self, from: &Path, to: &'static str) -> Self {
        self.bind(from, to, "rw")
    }

    fn bind(mut self, from: &Path, to: &'static str, mode: &'static str) -> Self {
        self.binds.push((from.into(), to, mode));
        self
    }

    /// Returns the command that runs `program` in the root. Add its arguments.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = task::contained();
        command
            .args(["sh", "-euc", include_str!("scripts/enter.sh"), "enter"])
            .arg(&self.root);
        for (from, to, mode) in &self.binds {
            command.arg(from).args([to, mode]);
        }
        command.arg("--").arg(program);
        command
    }

    /// Returns the command that runs a shell script in the root, with its arguments in `$1` and so
    /// on.
    pub fn script(&self, text: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-euc", text, "script"]);
        command
    }
}
