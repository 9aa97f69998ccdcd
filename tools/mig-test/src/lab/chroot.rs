// SPDX-License-Identifier: GPL-2.0
//! Runs programs of a root file system in it, without changing it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::task;

/// Where things of the host appear in a root, below a `/opt` of this process's own.
pub mod place {
    /// Kernel source and build tree.
    pub const KBUILD: &str = "/opt/kbuild";
    /// The project's source.
    pub const SOURCE: &str = "/opt/source";
    /// The source of modules that are built against the project's.
    pub const DRIVER: &str = "/opt/driver";
    /// Where results go.
    pub const OUT: &str = "/opt/out";
    /// Where documentation goes.
    pub const DOC: &str = "/opt/doc";
    /// One of Debian's kernels with its modules, as the root of the lab VM has them.
    pub const KERNEL: &str = "/opt/kernel";
    /// The initramfs of the lab VM.
    pub const BOOT: &str = "/opt/boot";
    /// The root that the lab VM boots from.
    pub const ROOT: &str = "/opt/root";
    /// The root of a QEMU that the lab VM has beside that of its root.
    pub const QEMU: &str = "/opt/qemu";
}

/// A root file system and the folders of the host that are seen in it. Everything else in it is
/// read-only, apart from an empty `/tmp` and an `/opt` for those folders.
pub struct Chroot {
    root: PathBuf,
    binds: Vec<(PathBuf, &'static str, &'static str)>,
}

impl Chroot {
    /// The root as it is.
    pub fn new(root: &Path) -> Self {
        Chroot {
            root: root.into(),
            binds: Vec::new(),
        }
    }

    /// With `from` readable at `to`, one of [`place`].
    pub fn reading(self, from: &Path, to: &'static str) -> Self {
        self.bind(from, to, "ro")
    }

    /// With `from` writable at `to`, one of [`place`].
    pub fn writing(self, from: &Path, to: &'static str) -> Self {
        self.bind(from, to, "rw")
    }

    fn bind(mut self, from: &Path, to: &'static str, mode: &'static str) -> Self {
        self.binds.push((from.into(), to, mode));
        self
    }

    /// `program` in the root. Add its arguments.
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

    /// A shell script in the root, with its arguments in `$1` and so on.
    pub fn script(&self, text: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-euc", text, "script"]);
        command
    }
}
