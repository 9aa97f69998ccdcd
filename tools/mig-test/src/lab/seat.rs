// SPDX-License-Identifier: GPL-2.0
//! The folders of a lab VM, so that several of them can run at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chroot::{place, Chroot};

/// The mount point, in a VM's folder, of what all VMs share.
const SHARED_MODULES: &str = "/opt/out/job/modules";
const SHARED_OUT: &str = "/opt/out/job/out";

/// A set of folders for one VM at a time.
pub struct Seat {
    lab: PathBuf,
    number: usize,
}

impl Seat {
    /// Returns the seat with this number in the lab's folder for results.
    pub fn new(lab: &Path, number: usize) -> Self {
        Seat {
            lab: lab.into(),
            number,
        }
    }

    /// Returns the VM's own folder: its logs, and the folder `job`, which it sees as `/job`.
    pub fn own(&self) -> PathBuf {
        self.lab.join(format!("vm-{}", self.number))
    }

    /// Returns the folder for files of failed scenarios, shared by all VMs.
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

    /// Returns a root in which they are mounted.
    pub fn open(&self, chroot: Chroot) -> Chroot {
        chroot
            .writing(&self.own(), place::OUT)
            .reading(&modules(&self.lab), SHARED_MODULES)
            .writing(&self.out(), SHARED_OUT)
    }
}

/// Returns the folder of modules, shared by all VMs.
pub fn modules(lab: &Path) -> PathBuf {
    lab.join("modules")
}

/// Returns the folder for files of failed scenarios, with a folder for each platform, and in that
/// one for each scenario.
pub fn out(lab: &Path) -> PathBuf {
    lab.join("out")
}
