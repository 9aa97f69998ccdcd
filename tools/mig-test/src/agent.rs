// SPDX-License-Identifier: GPL-2.0
//! The agent in the lab VM: takes one job from the host, runs it, reports, and powers the VM off.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::system::{reboot, RebootCommand};

use crate::event::{Event, Job, Outcome};
use crate::health::Health;
use crate::patience;
use crate::scenario::{self, Ctx};

/// Name of the virtio port between host and agent.
pub const PORT: &str = "mig-test";
/// The mount point of the share with the host.
const JOB: &str = "/job";
/// The maximum size of a kept file of a failed scenario, in bytes.
const MOST_KEPT: u64 = 1 << 20;
/// The parent of the scenarios' scratch folders.
const SCRATCH: &str = "/run/mig-test";

/// Runs the job that the host sends.
pub fn main() -> Result<()> {
    let port = open_port().context("no port to the host: the agent runs in the lab VM only")?;
    let result = serve(&port);
    if let Err(error) = &result {
        // The console outlives this machine.
        eprintln!("mig-test agent: {error:#}");
    }
    rustix::fs::sync();
    reboot(RebootCommand::PowerOff)?;
    result
}

fn open_port() -> Result<File> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT {
            let device = Path::new("/dev").join(entry.file_name());
            return Ok(File::options().read(true).write(true).open(device)?);
        }
    }
    anyhow::bail!("no virtio port is named {PORT}")
}

fn serve(port: &File) -> Result<()> {
    let kvm = load_kvm();
    start_processors()?;
    // From here on the console shows everything, so that a crash explains itself.
    fs::write("/proc/sys/kernel/printk", "8")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim()
        .to_string();
    let mut emit = |event: Event| {
        let mut line = serde_json::to_string(&event).expect("an event is plain data");
        line.push('\n');
        if let Err(error) = (&*port).write_all(line.as_bytes()) {
            eprintln!("mig-test agent: {error}");
        }
    };
    emit(Event::Ready { kernel, kvm });

    let mut line = String::new();
    let mut host = BufReader::new(port.try_clone()?);
    host.read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).context("the host sent no job")?;
    // From here on it says for how many milliseconds this VM was kept waiting.
    thread::spawn(move || {
        let lines = host.lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.parse().ok());
        numbers.for_each(patience::was_kept_waiting);
    });
    patience::stretch(job.patience);
    for name in &job.scenarios {
        emit(Event::Begin {
            scenario: name.clone(),
        });
        let start = Instant::now();
        let (outcome, is_fit) = run_one(name, &job, &mut emit).unwrap_or_else(|error| {
            let reason = format!("{error:#}");
            (Outcome::Failed { reason }, false)
        });
        let seconds = start.elapsed().as_secs_f64();
        emit(Event::End {
            scenario: name.clone(),
            outcome,
            seconds,
        });
        if !is_fit {
            // The host sees to the rest of the job in a new VM.
            break;
        }
    }
    emit(Event::Bye);
    Ok(())
}

/// Starts the processors that the kernel has left off when it booted.
fn start_processors() -> Result<()> {
    for entry in fs::read_dir("/sys/devices/system/cpu")? {
        let switch = entry?.path().join("online");
        if fs::read_to_string(&switch).is_ok_and(|state| state.trim() == "0") {
            fs::write(&switch, "1").with_context(|| format!("write {}", switch.display()))?;
        }
    }
    Ok(())
}

/// Runs a scenario. Returns its outcome, and whether this VM can run another one.
fn run_one(name: &str, job: &Job, emit: &mut dyn FnMut(Event)) -> Result<(Outcome, bool)> {
    let health = Health::note()?;
    let dir = PathBuf::from(SCRATCH).join(name);
    fs::create_dir_all(&dir)?;
    let mut ctx = Ctx {
        options: &job.options,
        qemu: job.qemu,
        guest_kernel: &job.guest_kernel,
        dir: dir.clone(),
        job: JOB.into(),
        emit,
    };
    let mut outcome = scenario::run(name, &mut ctx);
    let findings = health.check()?;
    if !findings.complaints.is_empty() {
        let mut reason = findings.complaints.join("\n");
        if let Outcome::Failed { reason: first } = outcome {
            reason = format!("{first}\n{reason}");
        }
        outcome = Outcome::Failed { reason };
    }
    if let Outcome::Failed { .. } = outcome {
        keep(&dir, &Path::new(JOB).join(&job.out).join(name))?;
    }
    fs::remove_dir_all(&dir)?;
    Ok((outcome, findings.is_fit))
}

/// Keeps the output of a failed scenario's programs: consoles of guests, errors of QEMU.
fn keep(dir: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Not the guest's initramfs.
        if entry.metadata()?.is_file() && entry.metadata()?.len() < MOST_KEPT {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Loads the KVM module for this processor. Returns whether guests can use KVM.
fn load_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    for (flag, module) in [("svm", "kvm_amd"), ("vmx", "kvm_intel")] {
        if has(flag) {
            let _ = Command::new("modprobe").arg(module).status();
        }
    }
    Path::new("/dev/kvm").exists()
}
