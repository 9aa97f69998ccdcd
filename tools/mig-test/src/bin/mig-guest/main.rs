// SPDX-License-Identifier: GPL-2.0
//! The program of the migrated guest, run as its init: keeps the cards busy that the kernel command
//! line selects, and reports on their data over the debug console.
//!
//! | parameter | card | what it does |
//! |---|---|---|
//! | `mig_serial=1` | the serial card | numbered lines flow through every UART |
//! | `mig_gpu=1` | the toy GPU | random commands, with a check of every page they touch |
//! | `mig_iommu=1` | the toy GPU | it is behind the guest's IOMMU |
//! | `mig_intx=uio` | the serial card | this program has it, through uio_pci_generic |
//! | `mig_intx=vfio` | the serial card | the same through vfio-pci, behind the guest's IOMMU |
//! | `mig_config=1` | that of `config_rs` | checks its configuration space, and leaves a letter there |
//! | `mig_own=1` | a driver author's | loads the author's modules, runs the author's program |
//!
//! Started by another init, it is such an author's program: it drives the vendor guide's scratch
//! card ([`scratch`]), or the example with doorbells ([`doorbells`]) or after `edu` ([`edu`]).
//!
//! Commands come over the first serial port, one per line: `report N`, `pause` (wait for everything
//! in flight), `resume`, `registers` (while paused), `hold N` (while paused: leave N bytes unread
//! in the card), `release`, `reboot`, `config` (check it again), `gpu …` for the GPU
//! ([`gpu::Order`]), and `intx …` for the interrupts ([`intx::Order`]).

mod config;
mod console;
mod doorbells;
mod edu;
mod gpu;
mod intx;
mod memory;
mod own;
#[path = "../../patience.rs"]
#[allow(dead_code)] // what mig-test alone uses of it
mod patience;
mod pci;
mod round;
mod scratch;
mod serial;
mod tty;
mod vfio;

use std::convert::Infallible;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::Instant;

use mig_common::message::{Counters, Message, Registers};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::mm::{mlockall, MlockAllFlags};
use rustix::mount::{mount, MountFlags};
use rustix::system::{reboot, RebootCommand};

use console::DebugConsole;
use serial::port::Port;

/// A progress message every so many lines of the first port.
const PROGRESS: u64 = 8;
/// Silence after which data in flight is reported as stalled. The host judges
/// ([`Message::Stalled`]).
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

fn main() {
    if process::id() != 1 {
        let (name, run): (_, fn() -> io::Result<Infallible>) = if doorbells::is_there() {
            ("doorbells", doorbells::run)
        } else if edu::is_there() {
            ("edu", edu::run)
        } else {
            ("scratch", scratch::run)
        };
        let error = lock_memory()
            .and_then(|()| run())
            .expect_err("it runs for ever");
        eprintln!("{name}: {error}");
        process::exit(1);
    }
    let error = match start() {
        Ok(mut guest) => guest.run().expect_err("the guest runs for ever"),
        Err(error) => error,
    };
    // An init that returns takes the kernel down with it, and this message with the kernel.
    eprintln!("guest program: {error}");
    if let Ok(console) = DebugConsole::open() {
        let _ = console.complain("guest program", &error);
    }
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn start() -> io::Result<Guest> {
    lock_memory()?;
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)?;
    }
    let console = Arc::new(DebugConsole::open()?);
    let commands = tty::open(Path::new("/dev/ttyS0"), OFlags::empty())?;
    tty::set_raw(&commands, None)?;

    // The kernel hands parameters it does not know to init as its environment.
    let wanted = |card: &str| env::var(card).is_ok_and(|text| text == "1");
    let gpu = match wanted("mig_gpu") {
        true => Some(gpu::start(console.clone(), wanted("mig_iommu"))?),
        false => None,
    };
    let (found, ports) = match wanted("mig_serial") {
        true => serial::start()?,
        false => (Vec::new(), Vec::new()),
    };
    let intx = match env::var("mig_intx") {
        Ok(driver) => Some(intx::start(&driver)?),
        Err(_) => None,
    };
    let config = match wanted("mig_config") {
        true => Some(config::Card::start()?),
        false => None,
    };
    let own = match wanted("mig_own") {
        true => Some(own::Own::load()?),
        false => None,
    };
    let no_card = gpu.is_none() && ports.is_empty() && intx.is_none() && config.is_none();
    if no_card && own.is_none() {
        return Err(io::Error::other(
            "the kernel command line names no card: mig_serial=1, mig_gpu=1, mig_intx=uio, \
             mig_config=1, mig_own=1",
        ));
    }
    console.say(&Message::Ready { found })?;
    let own = own.map(|own| own.start(&console)).transpose()?;
    Ok(Guest {
        console,
        commands,
        command: Vec::new(),
        ports,
        gpu,
        intx,
        config,
        own,
        mode: Mode::Running,
        reported: 0,
    })
}

/// Sees to it that no access to a register follows a page fault, which would stop the VM in an
/// emulated machine (Documentation/findings.md, 10).
fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)?;
    // The clock's pages and its code cannot be locked: its first use maps them.
    let _ = Instant::now();
    Ok(())
}

/// What the serial card's data does.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Running,
    Pausing,
    Paused,
    Holding,
}

struct Guest {
    console: Arc<DebugConsole>,
    commands: File,
    command: Vec<u8>,
    ports: Vec<Port>,
    gpu: Option<Sender<gpu::Order>>,
    intx: Option<intx::Card>,
    config: Option<config::Card>,
    own: Option<own::Running>,
    mode: Mode,
    reported: u64,
}

impl Guest {
    fn run(&mut self) -> io::Result<()> {
        loop {
            if self.mode == Mode::Running {
                self.ports.iter_mut().for_each(Port::refill);
            }
            if self.mode == Mode::Pausing && self.ports.iter().all(Port::is_idle) {
                self.mode = Mode::Paused;
                self.say(&Message::Paused(self.counters()))?;
            }
            self.wait_and_serve()?;
            let lines = self.ports.first().map_or(0, |port| port.counters.lines);
            if lines >= self.reported + PROGRESS {
                self.reported = lines;
                self.say(&Message::Progress(self.counters()))?;
            }
        }
    }

    fn wait_and_serve(&mut self) -> io::Result<()> {
        let sending = matches!(self.mode, Mode::Running | Mode::Pausing);
        let mut fds = vec![PollFd::new(&self.commands, PollFlags::IN)];
        fds.extend(self.ports.iter().map(|port| {
            let sending = sending && port.may_send();
            let out = if sending {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            PollFd::new(&port.tty, PollFlags::IN | out)
        }));
        poll(&mut fds, Some(&PATIENCE))?;
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);

        if ready.iter().all(|flags| flags.is_empty()) {
            let waiting = sending && !self.ports.iter().all(Port::is_idle);
            return if waiting {
                let counters = serde_json::to_string(&self.counters())?;
                let states = self.ports.iter().map(|port| port.uart.state());
                let states = states.collect::<io::Result<Vec<String>>>()?.join(", ");
                let what = format!("the serial card's data: {counters}, {states}");
                let state = fs::read_to_string("/proc/interrupts")?;
                self.say(&Message::Stalled { state, what })
            } else {
                Ok(())
            };
        }
        for (port, flags) in self.ports.iter_mut().zip(&ready[1..]) {
            if flags.contains(PollFlags::OUT) {
                port.send()?;
            }
            if flags.intersects(PollFlags::IN | PollFlags::ERR | PollFlags::HUP) {
                port.receive()?;
            }
        }
        if ready[0].contains(PollFlags::IN) {
            self.listen()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        let count = self.commands.read(&mut bytes)?;
        for &byte in &bytes[..count] {
            if byte != b'\n' {
                self.command.push(byte);
                continue;
            }
            let command = String::from_utf8_lossy(&self.command).trim().to_owned();
            self.command.clear();
            if let Err(error) = self.obey(&command) {
                self.console.complain(&command, &error)?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, command: &str) -> io::Result<()> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("report", number) => {
                let number = number.parse().map_err(|_| io::Error::other("no number"))?;
                if let Some(own) = &self.own {
                    own.settle()?;
                }
                let counters = self.counters();
                self.say(&Message::Report { number, counters })
            }
            ("pause", _) => {
                self.mode = Mode::Pausing;
                Ok(())
            }
            ("resume", _) if self.mode != Mode::Holding => {
                self.mode = Mode::Running;
                Ok(())
            }
            ("registers", _) if self.mode == Mode::Paused => {
                let registers = self.ports.iter().map(|port| port.uart.registers());
                let registers = registers.collect::<io::Result<Vec<Registers>>>()?;
                self.say(&Message::Registers(registers))
            }
            ("hold", count) if self.mode == Mode::Paused => {
                let bytes = count.parse().map_err(|_| io::Error::other("no number"))?;
                self.ports
                    .iter_mut()
                    .try_for_each(|port| port.hold(bytes))?;
                self.mode = Mode::Holding;
                self.say(&Message::Held { bytes })
            }
            ("release", _) if self.mode == Mode::Holding => {
                self.ports.iter_mut().try_for_each(Port::release)?;
                self.mode = Mode::Pausing;
                Ok(())
            }
            ("gpu", order) => {
                let gpu = self.gpu.as_ref();
                let gpu = gpu.ok_or_else(|| io::Error::other("there is no GPU"))?;
                gpu.send(order.parse()?).map_err(io::Error::other)
            }
            ("intx", order) => {
                let card = self.intx.as_mut();
                let card = card.ok_or_else(|| io::Error::other("no card is handed over"))?;
                let interrupts = card.obey(order.parse()?)?;
                self.say(&Message::Interrupts(interrupts))
            }
            ("config", _) => {
                let card = self.config.as_ref();
                let card = card.ok_or_else(|| io::Error::other("there is no such card"))?;
                card.check()?;
                self.say(&Message::Ready { found: vec![] })
            }
            ("reboot", _) => Ok(reboot(RebootCommand::Restart)?),
            _ => Err(io::Error::other("not a command, or not now")),
        }
    }

    fn counters(&self) -> Vec<Counters> {
        self.ports.iter().map(|port| port.counters).collect()
    }

    fn say(&self, message: &Message) -> io::Result<()> {
        self.console.say(message)
    }
}
