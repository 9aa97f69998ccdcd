// SPDX-License-Identifier: GPL-2.0
//! Finds out whether KVM works on this machine. That its device node opens does not prove it, so a
//! VM is booted once; the result is valid until this machine boots again.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::component::Components;
use super::vm::{Accelerator, Hardware, Machine};
use super::{job, qemu_root, Lab};
use crate::progress::Progress;

/// The result of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trial {
    /// The boot of this machine in which the trial ran.
    boot: String,
    /// The QEMU that was tried.
    qemu: String,
    works: bool,
    seconds: f64,
}

/// What is known about KVM here.
#[derive(Debug, PartialEq)]
pub enum Kvm {
    /// There is no `/dev/kvm`.
    NoDevice,
    /// The processor has no virtualization, so `/dev/kvm` is useless.
    NoExtension,
    /// Unknown: a trial is needed.
    Untried,
    /// It was tried since this machine booted: whether it boots the lab VM and nests, and the
    /// duration of the trial in seconds.
    Tried(bool, f64),
}

impl fmt::Display for Kvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kvm::NoDevice => write!(f, "not used: there is no /dev/kvm"),
            Kvm::NoExtension => write!(f, "not used: the processor has neither vmx nor svm"),
            Kvm::Untried => write!(f, "not tried since this machine booted"),
            Kvm::Tried(true, seconds) => write!(f, "used: seen to work in {seconds:.1} s"),
            Kvm::Tried(false, seconds) => write!(
                f,
                "not used: it does not boot the lab VM, or does not nest; seen in {seconds:.1} s"
            ),
        }
    }
}

/// Returns the best accelerator that works here.
pub fn choose(lab: &Lab) -> Result<Accelerator> {
    let works = match known(&lab.cache, &lab.components)? {
        Kvm::NoDevice | Kvm::NoExtension => false,
        Kvm::Tried(works, _) => works,
        Kvm::Untried => try_it(lab)?,
    };
    Ok(if works {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    })
}

/// Returns what is known without a trial.
pub fn known(cache: &Cache, components: &Components) -> Result<Kvm> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Kvm::NoDevice);
    }
    if !has_extension(&fs::read_to_string("/proc/cpuinfo")?) {
        return Ok(Kvm::NoExtension);
    }
    let file = fs::read(file(cache)).unwrap_or_default();
    Ok(recall(&file, &boot_id()?, &qemu_instance(components)))
}

/// Returns whether the processor reports Intel's or AMD's virtualization. On x86 there is no KVM
/// without one of them.
fn has_extension(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| {
        line.split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm")
    })
}

/// Returns the trial recorded in `file`, if it is of this boot and this QEMU.
fn recall(file: &[u8], boot: &str, qemu: &str) -> Kvm {
    match serde_json::from_slice::<Trial>(file) {
        Ok(trial) if trial.boot == boot && trial.qemu == qemu => {
            Kvm::Tried(trial.works, trial.seconds)
        }
        _ => Kvm::Untried,
    }
}

fn try_it(lab: &Lab) -> Result<bool> {
    let progress = Progress::start("trying KVM");
    let start = Instant::now();
    let machine = Machine {
        accelerator: Accelerator::Kvm,
        platform: lab.simplest(),
        hardware: Hardware::Usual,
    };
    let trial = Trial {
        works: job::nests(lab, machine)?,
        seconds: start.elapsed().as_secs_f64(),
        boot: boot_id()?,
        qemu: qemu_instance(&lab.components),
    };
    // Others may read it, and may be trying as well.
    let file = file(&lab.cache);
    let own = file.with_extension(std::process::id().to_string());
    fs::write(&own, serde_json::to_string(&trial)?)
        .and_then(|()| fs::rename(&own, &file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    progress.done();
    Ok(trial.works)
}

fn file(cache: &Cache) -> PathBuf {
    cache.file("kvm.json")
}

/// Makes the next command try again.
pub fn forget(cache: &Cache) {
    // There may be nothing to forget.
    let _ = fs::remove_file(file(cache));
}

fn boot_id() -> Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().into())
}

fn qemu_instance(components: &Components) -> String {
    let qemu = components.get(qemu_root::LAB.name);
    qemu.map_or_else(String::new, |qemu| qemu.instance().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_processor_with_vmx_or_svm_among_its_flags_is_worth_a_trial() {
        let with = |flags: &str| {
            has_extension(&format!(
                "processor\t: 0\nmodel name\t: vmx svm\nflags\t\t: {flags}\nbugs\t\t: svm\n"
            ))
        };
        assert!(with("fpu vmx sse2"));
        assert!(with("fpu sse2 svm"));
        assert!(!with("fpu sse2 hypervisor"));
        // Others that begin or end alike.
        assert!(!with("fpu svm_lock xsvm vmx_ept"));
        assert!(!has_extension(""));
    }

    #[test]
    fn a_trial_holds_for_one_boot_and_one_qemu() {
        let trial = Trial {
            boot: "b1".into(),
            qemu: "q1".into(),
            works: false,
            seconds: 2.5,
        };
        let file = serde_json::to_vec(&trial).unwrap();
        assert_eq!(recall(&file, "b1", "q1"), Kvm::Tried(false, 2.5));
        assert_eq!(recall(&file, "b2", "q1"), Kvm::Untried);
        assert_eq!(recall(&file, "b1", "q2"), Kvm::Untried);
        assert_eq!(recall(b"", "b1", "q1"), Kvm::Untried);
        assert_eq!(recall(&file[..20], "b1", "q1"), Kvm::Untried);
    }
}
