// SPDX-License-Identifier: GPL-2.0
//! The program of the migrated guest, run as its init: keeps numbered lines flowing through every
//! UART of the serial card and tells, over the debug console, what came back.
//!
//! Commands come over the first serial port, one a line: `report N`, `pause` (let everything in flight come back), `resume`,
//! `registers` (while paused), `hold N` (while paused: leave N bytes unread in the card), `release`,
//! `reboot`.

#[path = "../guest/card.rs"]
mod card;
#[path = "../guest/message.rs"]
mod message;
#[path = "../guest/pattern.rs"]
mod pattern;

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::mount::{mount, MountFlags};
use rustix::system::{reboot, RebootCommand};
use rustix::termios::{self, ControlModes, OptionalActions};

use card::Uart;
use message::{Counters, Message, Registers, PREFIX};
use pattern::{line, Checker, LINE};

/// Bytes in flight a port unless the kernel command line says `mig_window=N`: enough that the card's
/// FIFO is filled to the brim over and over.
const WINDOW: u64 = 3 * LINE as u64;
/// A progress message every so many lines of the first port.
const PROGRESS: u64 = 8;
/// Silence after which data in flight is reported as stalled.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
/// The line speed: slow enough to look real, fast enough that the driver keeps its FIFO trigger.
const SPEED: u32 = 9600;
/// Where the debug console listens, by convention.
const DEBUG_PORT: u64 = 0xe9;
/// What the first port's scratch register and divisor latch are marked with; others count up.
const MARK: (u8, u16) = (0xa5, 0x0312);

fn main() {
    let error = match start() {
        Ok(mut guest) => guest.run().expect_err("the guest runs for ever"),
        Err(error) => error,
    };
    // An init that returns takes the kernel down with it, and this message with the kernel.
    let text = format!("guest program: {error}");
    eprintln!("{text}");
    if let Ok(console) = DebugConsole::open() {
        let _ = console.say(&Message::Fault { text });
    }
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn start() -> io::Result<Guest> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)?;
    }
    let console = DebugConsole::open()?;
    let commands = open_tty(Path::new("/dev/ttyS0"), OFlags::empty())?;
    set_raw(&commands, None)?;

    let uarts = card::find()?;
    let found = uarts
        .iter()
        .map(Uart::registers)
        .collect::<io::Result<Vec<_>>>()?;
    // The kernel hands parameters it does not know to init as its environment.
    let window = env::var("mig_window")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(WINDOW);
    let ports = (0..)
        .zip(uarts)
        .map(|(index, uart)| Port::open(uart, index, window));
    let ports = ports.collect::<io::Result<Vec<_>>>()?;
    console.say(&Message::Ready { found })?;
    Ok(Guest {
        console,
        commands,
        command: Vec::new(),
        ports,
        mode: Mode::Running,
        reported: 0,
    })
}

fn open_tty(node: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NOCTTY).bits() as i32;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(node)
}

fn set_raw(tty: &File, speed: Option<u32>) -> io::Result<()> {
    let mut settings = termios::tcgetattr(tty)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    if let Some(speed) = speed {
        settings.set_speed(speed)?;
    }
    Ok(termios::tcsetattr(tty, OptionalActions::Now, &settings)?)
}

/// QEMU's debug console: a port without a state of its own. QEMU's serial port would do for all but
/// the migration, in which it sends what is in its FIFO from both ends.
struct DebugConsole(File);

impl DebugConsole {
    fn open() -> io::Result<DebugConsole> {
        File::options()
            .write(true)
            .open("/dev/port")
            .map(DebugConsole)
    }

    fn say(&self, message: &Message) -> io::Result<()> {
        let text = format!("{PREFIX}{}\n", serde_json::to_string(message)?);
        // Each byte by itself: the next byte of a longer write would go to the next port.
        text.as_bytes()
            .iter()
            .try_for_each(|&byte| self.0.write_all_at(&[byte], DEBUG_PORT))
    }
}

/// One UART, its tty, and the data on its way through them.
struct Port {
    uart: Uart,
    tty: File,
    counters: Counters,
    checker: Checker,
    next_line: u32,
    window: u64,
    unsent: Vec<u8>,
    /// The interrupt setting to go back to, while bytes are held.
    held: Option<u8>,
}

impl Port {
    fn open(uart: Uart, index: u8, window: u64) -> io::Result<Port> {
        let tty = open_tty(&uart.node, OFlags::NONBLOCK)?;
        set_raw(&tty, Some(SPEED))?;
        uart.mark(MARK.0 + index, MARK.1 + u16::from(index))?;
        Ok(Port {
            uart,
            tty,
            counters: Counters::default(),
            checker: Checker::default(),
            next_line: 0,
            window,
            unsent: Vec::new(),
            held: None,
        })
    }

    fn in_flight(&self) -> u64 {
        self.counters.written.saturating_sub(self.counters.read)
    }

    fn is_idle(&self) -> bool {
        self.unsent.is_empty() && self.in_flight() == 0
    }

    fn may_send(&self) -> bool {
        !self.unsent.is_empty() && self.in_flight() < self.window
    }

    fn refill(&mut self) {
        if self.unsent.len() < LINE {
            self.unsent.extend_from_slice(&line(self.next_line));
            self.next_line = self.next_line.wrapping_add(1);
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let room = self.window.saturating_sub(self.in_flight());
        let count = self.unsent.len().min(room as usize);
        match self.tty.write(&self.unsent[..count]) {
            Ok(count) => {
                self.unsent.drain(..count);
                self.counters.written += count as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 256];
        match self.tty.read(&mut bytes) {
            Ok(0) => Err(io::Error::other(format!(
                "{} hung up",
                self.uart.node.display()
            ))),
            Ok(count) => {
                self.checker.feed(&bytes[..count], &mut self.counters);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves the beginning of the next line unread in the card.
    fn hold(&mut self, count: usize) -> io::Result<()> {
        self.held = Some(self.uart.set_interrupts(0)?);
        let next = line(self.next_line);
        self.next_line = self.next_line.wrapping_add(1);
        let (now, later) = next.split_at(count.min(LINE));
        for &byte in now {
            self.uart.transmit(byte)?;
        }
        self.counters.written += now.len() as u64;
        self.unsent.extend_from_slice(later);
        Ok(())
    }

    fn release(&mut self) -> io::Result<()> {
        match self.held.take() {
            Some(ier) => self.uart.set_interrupts(ier).map(drop),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Running,
    Pausing,
    Paused,
    Holding,
}

struct Guest {
    console: DebugConsole,
    commands: File,
    command: Vec<u8>,
    ports: Vec<Port>,
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
            let lines = self.ports[0].counters.lines;
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
                self.say(&Message::Stalled(self.counters()))
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
                self.say(&Message::Fault {
                    text: format!("{command}: {error}"),
                })?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, command: &str) -> io::Result<()> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("report", number) => {
                let number = number.parse().map_err(|_| io::Error::other("no number"))?;
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
