// SPDX-License-Identifier: GPL-2.0
//! Whether KVM serves on this machine. A device node that opens is no proof: only a boot is.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::job;
use super::vm::{Accelerator, Machine};
use super::{Lab, Platform};
use crate::progress::Progress;

/// The best accelerator that works here. The answer holds until this machine reboots.
pub fn choose(lab: &Lab) -> Result<Accelerator> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accelerator::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let file = lab.work.join("kvm-verdict");
    let known = fs::read_to_string(&file).unwrap_or_default();
    let works = match known.strip_prefix(&boot) {
        Some(answer) => answer == "yes",
        None => {
            let progress = Progress::start("trying KVM");
            let works = job::nests(
                lab,
                Machine {
                    accelerator: Accelerator::Kvm,
                    platform: Platform::default(),
                },
            )?;
            fs::write(&file, boot + if works { "yes" } else { "no" })?;
            progress.done();
            works
        }
    };
    Ok(if works {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    })
}
