// SPDX-License-Identifier: GPL-2.0
//! The lab VM: a kernel of the lab under the lab's QEMU, with the root and a job shared over 9p.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use mig_common::tsc;

use super::boot_image::INITRAMFS;
use super::chroot::{place, Chroot};
use super::component::Components;
use super::starvation::Starvation;
use super::{monitor, qemu_root, stock_kernel, Kernel, Platform, Seat};
use crate::agent::PORT;
use crate::event::{Event, Job};
use crate::kernel_log;
use crate::kernel_parameters::WATCH_NO_MEMORY;
use crate::patience;

/// The number of lines of the console in an error.
const TAIL: usize = 25;
/// The timeout for a VM to shut down after its last message.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// The interval at which a silent VM's waiting time is read.
const BEAT: Duration = Duration::from_secs(1);

/// The error if the VM was silent for too long, with its last output.
#[derive(Debug, thiserror::Error)]
#[error("the lab VM is silent past its deadline{0}")]
struct Silent(String);

/// The accelerator of the lab VM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accelerator {
    /// KVM, if it can nest virtual machines.
    Kvm,
    /// TCG with one processor: migrations are faster than with two.
    Tcg,
    /// TCG with two processors, one thread for each: for races, without guests.
    TcgRacing,
    /// TCG in one thread with a clock that counts instructions: slow, and exactly reproducible.
    Icount,
}

impl Accelerator {
    /// The same for scenarios that race threads.
    pub fn racing(self) -> Self {
        match self {
            Accelerator::Tcg => Accelerator::TcgRacing,
            other => other,
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Accelerator::Kvm => &["-accel", "kvm", "-smp", "2"],
            Accelerator::Tcg => &["-accel", "tcg,thread=multi", "-smp", "1"],
            Accelerator::TcgRacing => &["-accel", "tcg,thread=multi", "-smp", "2"],
            Accelerator::Icount => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0",
                "-smp",
                "1",
            ],
        }
    }

    fn processor(self) -> &'static str {
        match self {
            Accelerator::Kvm => "host",
            // Figures are counted with the processor that QEMU shows by itself.
            Accelerator::Icount => "max",
            // The translator moves a string element by element. A kernel that is told that bytes
            // are fast moves bytes; one that is not, eight at a time.
            Accelerator::Tcg | Accelerator::TcgRacing => "max,-erms,-fsrm",
        }
    }
}

/// The hardware of a lab VM that drivers can share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hardware {
    /// What its accelerator can afford.
    Usual,
    /// Two cards behind an IOMMU.
    Cards,
    /// Two cards that reach all of its memory, and no IOMMU.
    CardsAlone,
}

/// The VM to boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Its accelerator.
    pub accelerator: Accelerator,
    /// Its kernel, and the QEMU that runs its guests.
    pub platform: Platform,
    /// Its hardware.
    pub hardware: Hardware,
}

/// A message from a lab VM.
enum Heard {
    /// A line of the agent's.
    Line(String),
    /// QEMU has stopped it, for this reason.
    Stopped(String),
}

/// A running lab VM.
pub struct Vm {
    child: Child,
    input: UnixStream,
    heard: Receiver<Heard>,
    work: PathBuf,
    starvation: Starvation,
    /// The waiting time that the agent was told, once it has a job.
    told: Option<Duration>,
}

/// Returns the command that runs QEMU.
fn qemu(lab: &Components, seat: &Seat, machine: Machine) -> Command {
    let (root, boot) = (lab.ready("root"), lab.ready(machine.platform.boot()));
    let stock = lab.ready(machine.platform.guest.tree());
    let lab_qemu = lab.ready(qemu_root::LAB.name);
    let chroot = Chroot::new(&lab_qemu.path)
        .reading(&root.path, place::ROOT)
        .reading(&boot.path, place::BOOT)
        .reading(&stock_kernel::image(stock), place::KERNEL);
    let mut chroot = seat.open(chroot);
    let guests = lab.ready(qemu_root::component(machine.platform.qemu));
    let extra = guests.path != root.path;
    if extra {
        chroot = chroot.reading(&guests.path, place::QEMU);
    }
    let mut processor = machine.accelerator.processor().to_owned();
    let (kernel, mut parameters) = match machine.platform.kernel {
        Kernel::V7_3 | Kernel::V7_2 => (
            format!("{}{}", place::KERNEL, stock_kernel::file(stock)),
            String::new(),
        ),
        Kernel::Debug => {
            let tree = lab.ready(machine.platform.kernel.tree());
            chroot = chroot.reading(&tree.path, place::KBUILD);
            // While it finds out that there are five levels of page tables, KASAN takes them for
            // four.
            processor += ",la57=off";
            // What a report is about may have destroyed anything, so nothing goes on after one.
            (
                format!("{}/vmlinuz", place::KBUILD),
                " panic_on_warn=1".into(),
            )
        }
    };
    if matches!(
        machine.accelerator,
        Accelerator::Tcg | Accelerator::TcgRacing
    ) {
        // The kernel would calibrate its clock against a timer, whose readings come late where the
        // translator waits for a processor: a clock that ran 18 times too fast was seen.
        if let Some(khz) = tsc::measure() {
            parameters += &format!(" tsc_early_khz={khz}");
        }
    }
    if machine.accelerator == Accelerator::TcgRacing {
        // The kernel changes its own code most while it boots, which the translator of another
        // processor may miss. The agent starts that processor afterwards.
        parameters += " maxcpus=1";
    }
    if qemu_root::loses_wakeups(lab_qemu.fact("qemu")) {
        // A timer that ticks by itself is heard with the next tick; one that is set anew each time,
        // never.
        parameters += " nohz=off highres=off";
    }
    let mut qemu = chroot.command("qemu-system-x86_64");
    qemu.args([
        "-no-user-config",
        "-nodefaults",
        "-no-reboot",
        "-M",
        "q35",
        "-m",
        // The engine of an `edu` has addresses of 28 bits.
        match machine.hardware {
            Hardware::CardsAlone => "256M",
            _ => "4G",
        },
    ])
    .args(machine.accelerator.arguments())
    .args(["-cpu", &processor])
    .arg("-kernel")
    .arg(kernel)
    .arg("-initrd")
    .arg(format!("{}/{INITRAMFS}", place::BOOT))
    // The clock goes on while this machine holds the VM up, so a watchdog of a few seconds barks at
    // nothing, and ticks get lost, of which the kernel counts some at boot to see that the timer
    // works. What hangs runs into its scenario's deadline.
    .arg("-append")
    .arg(format!(
        "console=ttyS0 quiet panic=-1 nosoftlockup no_timer_check {WATCH_NO_MEMORY}{parameters}"
    ))
    .arg("-fsdev")
    .arg(share("root", place::ROOT) + ",readonly=on")
    .args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"])
    .arg("-fsdev")
    .arg(share("kernel", place::KERNEL) + ",readonly=on")
    .args(["-device", "virtio-9p-pci,fsdev=kernel,mount_tag=kernel"])
    .arg("-fsdev")
    .arg(share("job", &format!("{}/job", place::OUT)))
    .args(["-device", "virtio-9p-pci,fsdev=job,mount_tag=job"])
    .args(["-device", "virtio-rng-pci"]);
    if machine.accelerator != Accelerator::Tcg || machine.hardware != Hardware::Usual {
        // Two devices that an IOMMU keeps from memory, as vfio-pci wants it; others are not behind
        // it. Not where guests run on a translated processor, without need. Interrupts are not
        // remapped: with that, a VM on a busy machine was seen to lose its timer's and to stand
        // still.
        if machine.hardware != Hardware::CardsAlone {
            qemu.args(["-device", "intel-iommu,intremap=off"]);
        }
        qemu.args(["-device", "edu", "-device", "edu"]);
        // Two whose registers count accesses, for devices that show a page of them.
        qemu.args(["-device", "pci-testdev", "-device", "pci-testdev"]);
        // A function with several vectors, which a register sends.
        qemu.args(["-device", "e1000e,romfile="]);
    }
    if extra {
        qemu.arg("-fsdev")
            .arg(share("qemu", place::QEMU) + ",readonly=on")
            .args(["-device", "virtio-9p-pci,fsdev=qemu,mount_tag=qemu"]);
    }
    qemu
}

fn share(id: &str, path: &str) -> String {
    format!("local,id={id},path={path},security_model=passthrough,multidevs=remap")
}

/// Runs the VM on this terminal until the user leaves it.
pub fn interactive(lab: &Components, seat: &Seat, machine: Machine) -> Result<()> {
    let mut qemu = qemu(lab, seat, machine);
    qemu.args(["-display", "none", "-serial", "mon:stdio"]);
    let status = qemu.status().context("cannot start the lab VM")?;
    anyhow::ensure!(status.success(), "QEMU failed ({status})");
    Ok(())
}

impl Vm {
    /// Powers the VM on.
    pub fn start(lab: &Components, seat: &Seat, machine: Machine) -> Result<Self> {
        let mut qemu = qemu(lab, seat, machine);
        let work = seat.own();
        let console = format!("file:{}/console.log", place::OUT);
        // Its standard input and output are sockets, for both ways: the agent's port, and QMP.
        let (input, port) = UnixStream::pair()?;
        let (qmp, monitor) = UnixStream::pair()?;
        qemu.args(["-display", "none", "-serial", &console])
            .args(["-chardev", "socket,id=monitor,fd=1"])
            .args(["-mon", "chardev=monitor,mode=control"])
            .args(["-chardev", "socket,id=port,fd=0"])
            .args(["-device", "virtio-serial-pci"])
            .args([
                "-device",
                &format!("virtserialport,chardev=port,name={PORT}"),
            ])
            .stdin(OwnedFd::from(port))
            .stdout(OwnedFd::from(monitor))
            .stderr(File::create(work.join("qemu.log"))?);
        let child = qemu.spawn().context("cannot start the lab VM")?;
        // It holds QEMU's ends of the sockets: without it, they end with QEMU.
        drop(qemu);
        let output = BufReader::new(input.try_clone()?);
        let (lines, heard) = channel();
        let stops = lines.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if lines.send(Heard::Line(line)).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || {
            if let Some(why) = monitor::await_stop(qmp) {
                // Nobody may be listening any more.
                let _ = stops.send(Heard::Stopped(why));
            }
        });
        Ok(Vm {
            starvation: Starvation::new(child.id()),
            child,
            input,
            heard,
            work,
            told: None,
        })
    }

    /// Gives the agent its job.
    pub fn send(&mut self, job: &Job) -> Result<()> {
        self.told = Some(Duration::ZERO);
        let line = serde_json::to_string(job)? + "\n";
        self.input
            .write_all(line.as_bytes())
            .context("the lab VM does not take its job")
    }

    /// Waits for the agent's next message, for at most `most`. The time in which the VM waits for a
    /// processor does not count.
    pub fn event(&mut self, most: Duration) -> Result<Event> {
        let (begin, before) = (Instant::now(), self.starvation.kept_waiting());
        loop {
            let now = self.starvation.kept_waiting();
            let waited = begin.elapsed().saturating_sub(now.saturating_sub(before));
            let Some(left) = patience::between(waited, most) else {
                return Err(Silent(self.last_words()).into());
            };
            // Also between events that come faster than a beat.
            self.tell_starvation(now);
            match self.heard.recv_timeout(left.min(BEAT)) {
                Ok(Heard::Stopped(why)) => {
                    bail!("QEMU has stopped the lab VM ({why}){}", self.last_words())
                }
                Ok(Heard::Line(line)) => {
                    return serde_json::from_str(&line)
                        .with_context(|| format!("the lab VM says what is no event: {line}"))
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the lab VM went down{}", self.last_words())
                }
            }
        }
    }

    /// Tells the agent, which has deadlines of its own, that its VM waited for a processor for
    /// `now` in all.
    fn tell_starvation(&mut self, now: Duration) {
        if self.told.is_some_and(|told| now > told + BEAT / 10) {
            self.told = Some(now);
            // If it does not take it, it has more to complain of than that.
            let _ = writeln!(self.input, "{}", now.as_millis());
        }
    }

    /// Waits until the VM has powered itself off.
    pub fn finish(mut self) -> Result<()> {
        let end = loop {
            if let Err(end) = self.event(SHUTDOWN) {
                break end;
            }
        };
        if end.is::<Silent>() {
            bail!("the lab VM does not power off{}", self.last_words());
        }
        self.child.wait()?;
        Ok(())
    }

    /// Returns the last output of QEMU and of the console; of the console, the kernel's complaint
    /// if there is one.
    fn last_words(&self) -> String {
        let mut text = String::new();
        for (what, file) in [("QEMU", "qemu.log"), ("console", "console.log")] {
            let path = self.work.join(file);
            let log = fs::read(&path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines = log.lines().filter(|line| !line.trim().is_empty());
            let lines: Vec<String> = lines.map(String::from).collect();
            if !lines.is_empty() {
                let complaints = kernel_log::pick(&lines);
                let tail = match complaints.is_empty() {
                    true => lines[lines.len().saturating_sub(TAIL)..].join("\n"),
                    false => complaints.join("\n"),
                };
                text += &format!("\n{what} ({}):\n{tail}", path.display());
            }
        }
        text
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Both fail when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
