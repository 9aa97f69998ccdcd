// SPDX-License-Identifier: GPL-2.0
//! A virtual machine with mediated devices in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{ensure, Context, Result};
use mig_common::message::{Checked, Counters, Interrupts, Registers};
use serde_json::{json, Value};

use super::channel::Channel;
use super::console::Console;
use super::image::Image;
use super::process::{Process, PATIENCE};
use super::qmp::Qmp;
use super::screen::Screen;
use super::stderr;
use super::traffic::{self, Traffic};
use super::version::Qemu;
use crate::kernel_parameters::WATCH_NO_MEMORY;
use crate::patience;

/// Whether a VM boots its guest or waits for an incoming one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Boots the guest.
    Source,
    /// Waits for a migration.
    Destination,
}

/// A device for a VM.
pub struct Assigned {
    /// Its sysfs folder.
    pub path: PathBuf,
    /// Properties of the vfio-pci device that its driver needs, each after a comma.
    pub properties: &'static str,
    /// Whether it is behind a port of PCI Express, as an express device has to be.
    pub has_port: bool,
}

/// The parameters that make the guest's kernel and program use the IOMMU.
const IOMMU: &str = " intel_iommu=on mig_iommu=1";
/// The guest's slot of the first device.
const FIRST_SLOT: usize = 5;

/// The configuration of a VM.
pub struct Setup<'a> {
    /// The QEMU to start.
    pub qemu: Qemu,
    /// Its name, for its files and messages.
    pub name: &'a str,
    /// The folder for its sockets and its standard error.
    pub dir: &'a Path,
    /// The files that it boots.
    pub image: &'a Image,
    /// The devices, in the order of the guest's slots.
    pub devices: &'a [Assigned],
    /// Parameters of the guest program, on the guest's kernel command line.
    pub parameters: &'a str,
    /// Whether a reboot of the guest is expected; otherwise a reboot ends QEMU.
    pub may_reboot: bool,
}

/// A running QEMU with its monitor and its guest's console.
pub struct Vm {
    /// Its QEMU.
    pub qemu: Qemu,
    name: String,
    dir: PathBuf,
    trace: PathBuf,
    /// The version in QEMU's greeting.
    pub version: String,
    process: Process,
    qmp: Qmp,
    console: Console,
    /// The sysfs folders of its devices.
    devices: Vec<PathBuf>,
}

impl Vm {
    /// Starts QEMU and waits for its monitor. If QEMU rejects a device, returns an error with
    /// QEMU's output.
    pub fn start(setup: &Setup, role: Role) -> Result<Vm> {
        let socket = |kind: &str| setup.dir.join(format!("{}-{kind}", setup.name));
        let (qmp_path, serial_path, debug_path) =
            (socket("qmp"), socket("serial"), socket("debug"));
        let (log, trace) = (socket("kernel"), socket("trace"));
        let qmp = Channel::listen(&qmp_path)?;
        let serial = Channel::listen(&serial_path)?;
        let debug = Channel::listen(&debug_path)?;

        let mut command = setup.qemu.command();
        command
            .args([
                "-name",
                setup.name,
                "-no-user-config",
                "-nodefaults",
                "-display",
                "none",
            ])
            .args([
                "-machine",
                "q35",
                "-accel",
                "kvm",
                "-cpu",
                "host,-xsave",
                "-m",
                &format!("{}M", setup.image.memory),
            ])
            .arg("-kernel")
            .arg(&setup.image.kernel)
            .arg("-initrd")
            .arg(&setup.image.initramfs)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 noxsave quiet panic=-1 {WATCH_NO_MEMORY} {}{}",
                setup.parameters,
                if setup.image.iommu { IOMMU } else { "" },
            ))
            .arg("-qmp")
            .arg(format!("unix:{}", qmp_path.display()))
            .arg("-chardev")
            .arg(format!(
                "socket,id=serial,path={},logfile={}",
                serial_path.display(),
                log.display()
            ))
            .args(["-device", "isa-serial,chardev=serial"])
            .arg("-chardev")
            .arg(format!("socket,id=debug,path={}", debug_path.display()))
            .args(["-device", "isa-debugcon,chardev=debug"])
            .args(traffic::arguments(&trace));
        if setup.image.iommu {
            // Before the devices, or they are not behind it.
            command.args(["-device", "intel-iommu,caching-mode=on,intremap=off"]);
        }
        let destination = match role {
            Role::Source => "",
            Role::Destination => setup.qemu.destination_properties(),
        };
        for (index, device) in setup.devices.iter().enumerate() {
            // The slot is part of the device's name in the migration stream.
            let mut place = format!("addr={:#x}", FIRST_SLOT + index);
            if device.has_port {
                let chassis = index + 1;
                command.arg("-device").arg(format!(
                    "pcie-root-port,id=port{index},chassis={chassis},{place}"
                ));
                place = format!("bus=port{index}");
            }
            command.arg("-device").arg(format!(
                "vfio-pci,id=card{index},{place},sysfsdev={},{}{}{destination}",
                device.path.display(),
                setup.qemu.migration_property(setup.image.iommu),
                device.properties,
            ));
        }
        if !setup.may_reboot {
            command.arg("-no-reboot");
        }
        if role == Role::Destination {
            command.args(["-incoming", "defer"]);
        }

        let mut process = Process::spawn(setup.name, &mut command, &socket("stderr"))?;
        let deadline = patience::until(PATIENCE);
        let qmp = Channel::accept(qmp, &mut process, deadline)?;
        let serial = Channel::accept(serial, &mut process, deadline)?;
        let debug = Channel::accept(debug, &mut process, deadline)?;
        let (qmp, version) = Qmp::greet(qmp, &mut process)?;
        Ok(Vm {
            qemu: setup.qemu,
            name: setup.name.to_owned(),
            dir: setup.dir.to_owned(),
            trace,
            version,
            process,
            qmp,
            console: Console::new(debug, serial, log),
            devices: setup.devices.iter().map(|one| one.path.clone()).collect(),
        })
    }

    /// Runs a QMP command.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<Value> {
        self.qmp.command(&mut self.process, name, arguments)
    }

    /// Runs a command of the human monitor, which has commands that QMP lacks.
    pub fn monitor(&mut self, line: &str) -> Result<String> {
        let answer = self.command("human-monitor-command", json!({ "command-line": line }))?;
        let answer = answer.as_str().map(str::to_owned);
        answer.with_context(|| format!("QEMU gives no answer to {line}"))
    }

    /// Returns the file with QEMU's trace events.
    pub fn trace(&self) -> &Path {
        &self.trace
    }

    /// Returns the picture that a device shows.
    pub fn screen(&mut self, device: usize) -> Result<Screen> {
        let file = self.dir.join(format!("{}-screen", self.name));
        let arguments = json!({ "filename": file, "device": format!("card{device}") });
        self.command("screendump", arguments)?;
        Screen::parse(&fs::read(&file)?)
    }

    /// Returns the bytes of device state that QEMU has sent so far, by device, named as in sysfs.
    pub fn traffic(&self) -> Result<Traffic> {
        Traffic::read(&self.trace)
    }

    /// Waits for a QMP event.
    pub fn await_event<T>(
        &mut self,
        what: &str,
        pick: impl FnMut(&str, &Value) -> Option<T>,
    ) -> Result<T> {
        self.qmp.await_event(&mut self.process, what, pick)
    }

    /// Drops the QMP events received so far.
    pub fn forget_events(&mut self) {
        self.qmp.forget_events();
    }

    /// Waits for the guest; if that fails, keeps what explains why it does not go on.
    fn await_guest<T>(
        &mut self,
        wait: impl FnOnce(&mut Console, &mut Process) -> Result<T>,
    ) -> Result<T> {
        let result = wait(&mut self.console, &mut self.process);
        if result.is_err() {
            // The error matters, and not whether it can be explained.
            let _ = self.keep_evidence();
        }
        result
    }

    /// Writes what the guest, QEMU and the SDK know of the interrupts to `NAME-stall`.
    fn keep_evidence(&mut self) -> Result<()> {
        let mut text = format!("guest:\n{}", self.console.stalled());
        for line in ["info status", "info pic", "info lapic", "info registers"] {
            let answer = self.monitor(line).unwrap_or_else(|error| error.to_string());
            text += &format!("\n{line}:\n{answer}");
        }
        for device in &self.devices {
            let driver = fs::read_link(device.join("driver")).unwrap_or_default();
            let names = (driver.file_name(), device.file_name());
            if let (Some(driver), Some(name)) = names {
                let file = Path::new("/sys/kernel/debug").join(driver).join(name);
                let shown = fs::read_to_string(&file).unwrap_or_else(|error| error.to_string());
                text += &format!("\n{}:\n{shown}", file.display());
            }
        }
        let file = self.dir.join(format!("{}-stall", self.name));
        Ok(fs::write(file, text)?)
    }

    /// Waits until the guest program has started; returns the initial registers.
    pub fn await_ready(&mut self) -> Result<Vec<Registers>> {
        self.await_guest(Console::await_ready)
    }

    /// Waits until every port of the guest has received `more` further lines.
    pub fn await_lines(&mut self, more: u64) -> Result<Vec<Counters>> {
        self.await_guest(|console, process| console.await_lines(process, more))
    }

    /// Returns what each of the guest's ports has sent and received so far.
    pub fn counters(&mut self) -> Result<Vec<Counters>> {
        self.await_guest(Console::report)
    }

    /// Stops the guest's data with nothing in flight.
    pub fn pause_guest(&mut self) -> Result<Vec<Counters>> {
        self.await_guest(Console::pause)
    }

    /// Resumes the guest's data.
    pub fn resume_guest(&mut self) -> Result<()> {
        self.console.tell("resume")
    }

    /// Reads the registers of the paused guest's ports.
    pub fn registers(&mut self) -> Result<Vec<Registers>> {
        self.await_guest(Console::registers)
    }

    /// Leaves `bytes` of the paused guest's next line unread in the card.
    pub fn hold(&mut self, bytes: usize) -> Result<()> {
        self.await_guest(|console, process| console.hold(process, bytes))
    }

    /// Takes up the held bytes; returns once everything in flight has come back.
    pub fn release(&mut self) -> Result<Vec<Counters>> {
        self.console.tell("release")?;
        self.await_guest(Console::await_paused)
    }

    /// Has the guest's GPU work as a seed says, and go on with it.
    pub fn gpu_work(&mut self, seed: u64) -> Result<()> {
        self.console.gpu_work(seed)
    }

    /// Waits until the guest's GPU has got so many more batches of commands.
    pub fn gpu_batches(&mut self, more: u64) -> Result<()> {
        self.await_guest(|console, process| console.gpu_batches(process, more))
    }

    /// Makes the guest unmap all memory from its GPU, and map it again, after each of a number of
    /// batches.
    pub fn gpu_renew(&mut self, times: u64) -> Result<()> {
        self.await_guest(|console, process| console.gpu_renew(process, times))
    }

    /// Makes the guest check everything that its GPU has written.
    pub fn gpu_check(&mut self) -> Result<Checked> {
        self.await_guest(Console::gpu_check)
    }

    /// Makes the guest's GPU draw a picture.
    pub fn gpu_draw(&mut self, number: u32) -> Result<()> {
        self.await_guest(|console, process| console.gpu_draw(process, number))
    }

    /// Sends an order about interrupts to the guest's program, which drives the card.
    pub fn intx(&mut self, order: &str) -> Result<Interrupts> {
        self.await_guest(|console, process| console.intx(process, order))
    }

    /// Has the guest check the configuration space of its card.
    pub fn config(&mut self) -> Result<()> {
        self.await_guest(Console::config)
    }

    /// Returns the guest's consoles, and the process that its waits need.
    pub fn console(&mut self) -> (&mut Console, &mut Process) {
        (&mut self.console, &mut self.process)
    }

    /// Returns what the guest's kernel has printed here.
    pub fn guest_log(&self) -> Result<String> {
        self.console.log()
    }

    /// Reboots the guest; returns its initial registers.
    pub fn reboot(&mut self) -> Result<Vec<Registers>> {
        self.console.tell("reboot")?;
        self.await_ready()
    }

    /// Ends the VM that the guest has migrated from and takes over the guest's console.
    pub fn succeed(&mut self, former: &mut Vm) -> Result<()> {
        former.quit()?;
        self.continue_console(former);
        Ok(())
    }

    /// Takes over the guest's console from a VM that has ended.
    pub fn continue_console(&mut self, former: &mut Vm) {
        self.console.continue_from(&mut former.console);
    }

    /// Returns the complaints that QEMU has printed.
    pub fn complaints(&self) -> Vec<String> {
        stderr::complaints(&self.process.stderr())
    }

    /// Returns everything that QEMU has printed.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits for QEMU to end by itself.
    pub fn await_exit(&mut self) -> Result<ExitStatus> {
        self.process.await_exit(patience::until(PATIENCE))
    }

    /// Quits QEMU.
    pub fn quit(&mut self) -> Result<()> {
        self.command("quit", json!({}))?;
        let status = self.await_exit()?;
        ensure!(
            status.success(),
            "{} was told to quit and ended with {status}: {}",
            self.name,
            self.stderr().trim()
        );
        Ok(())
    }
}
