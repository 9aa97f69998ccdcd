// SPDX-License-Identifier: GPL-2.0
//! The folders of a lab VM, so that several of them can run at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chroot::{place, Chroot};

/// Where, in a VM's folder, that is seen which all VMs share.
const SHARED_MODULES: &str = "/opt/out/job/modules";
const SHARED_OUT: &str = "/opt/out/job/out";

/// A place for one VM at a time.
pub struct Seat {
    lab: PathBuf,
    number: usize,
}

impl Seat {
    /// The place of this number in the lab's folder for results.
    pub fn new(lab: &Path, number: usize) -> Self {
        Seat {
            lab: lab.into(),
            number,
        }
    }

    /// What is the VM's own: its logs, and the folder `job`, which it sees as `/job`.
    pub fn own(&self) -> PathBuf {
        self.lab.join(format!("vm-{}", self.number))
    }

    /// Where files of failed scenarios go, of every VM.
    pub fn out(&self) -> PathBuf {
        out(&self.lab)
    }

    /// Makes the folders.
    pub fn prepare(&self) -> io::Result<()> {
        let job = self.own().join("job");
        let folders = [
            job.join("modules"),
            job.join("out"),
            modules(&self.lab),
            self.out(),
        ];
        folders.iter().try_for_each(fs::create_dir_all)
    }

    /// A root that sees them.
    pub fn open(&self, chroot: Chroot) -> Chroot {
        chroot
            .writing(&self.own(), place::OUT)
            .reading(&modules(&self.lab), SHARED_MODULES)
            .writing(&self.out(), SHARED_OUT)
    }
}

/// Where modules are laid out for every VM.
pub fn modules(lab: &Path) -> PathBuf {
    lab.join("modules")
}

/// Where files of failed scenarios go: to a folder for each platform, and there for each scenario.
pub fn out(lab: &Path) -> PathBuf {
    lab.join("out")
}
