// SPDX-License-Identifier: GPL-2.0
//! A driver author's own device under two QEMUs: `mig-test migrate`. Without its options it is the
//! vendor guide's scratch card, with a program that drives it.
//!
//! The author knows how the guest uses the device and when it is wrong. So the guest runs the
//! author's program and modules, and what they print decides.

mod order;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use mig_common::message::Message;
use regex_lite::Regex;
use serde::Serialize;

use super::bed::{ensure_quiet, kernel_release, load, Bed, Card, Driver, Host};
use super::conformance::source::load_brought;
use super::Ctx;
use crate::event::Outcome;
use crate::kernel_log;
use crate::mdev::MdevType;
use crate::patience;
use crate::qemu::image::Image;
use crate::qemu::migration;
use crate::qemu::process::PATIENCE;
use crate::qemu::vm::{Role, Vm};
pub use order::regex;
use order::{Example, Order};

/// The option with the words after which the guest migrates.
pub const READY: &str = "ready";
/// The option with the words that are a pass after the last move.
pub const OK: &str = "ok";
/// The option with the words that are a failure at any time.
pub const FAIL: &str = "fail";
/// The option with the number of migrations.
pub const MOVES: &str = "moves";
/// The folder of the job with the author's files for the guest.
pub const GUEST: &str = "guest";

/// The time for the guest to print what is waited for, if it is not silent.
const LONGEST: Duration = Duration::from_secs(300);
/// The kernel's message about an initramfs that does not fit (init/initramfs.c).
const NO_ROOM: &str = "Initramfs unpacking failed";
/// The number of lines of the guest that a failure shows.
const SHOWN: usize = 6;
/// The file with everything that the guest has said.
const TRANSCRIPT: &str = "guest-output";

/// The vendor guide's card.
const SCRATCH: Example = Example {
    module: "scratch",
    mdev: "scratch/scratch-1",
    moves: 1,
};
/// The example with a BAR in parts.
const DOORBELLS: Example = Example {
    module: "doorbells",
    mdev: "doorbells/doorbells-1",
    moves: 3,
};

/// The author's driver as the test bed knows it.
const AUTHORS: Driver = Driver {
    module: "the author's device",
    parent: "",
    properties: "",
    guest: "mig_own=1",
    has_port: false,
};

/// The figures of one migration.
#[derive(Serialize)]
struct Move {
    #[serde(rename = "move")]
    number: usize,
    total_ms: u64,
    downtime_ms: u64,
    setup_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_bytes: Option<u64>,
    pre_copy_bytes: u64,
    stop_copy_bytes: u64,
}

/// What was migrated, and with what.
#[derive(Serialize)]
struct About {
    device: String,
    guest_lines: usize,
    kernel: String,
    qemu: String,
}

/// Migrates a guest with the device, as often as the options say.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    with(ctx, &SCRATCH, &[])
}

/// Migrates a guest with the card with doorbells, of which QEMU maps both parts.
pub fn doorbells(ctx: &mut Ctx) -> Result<Outcome> {
    with(ctx, &DOORBELLS, &["BAR 0 mmaps[0]", "BAR 0 mmaps[1]"])
}

/// Migrates a guest with the device of the options, or of an example, in whose physical memory QEMU
/// shows regions with these names.
fn with(ctx: &mut Ctx, example: &Example, mapped: &[&str]) -> Result<Outcome> {
    let order = Order::of(ctx, example)?;
    let (moves, device) = (order.moves, order.mdev.to_owned());
    let mut listener = Listener::new(ctx, order.ok.clone(), order.fail)?;
    let kind = prepare(&order.modules, order.mdev)?;
    let program = ctx.job.join("mig-guest");
    let kernel = Path::new(ctx.guest_kernel);
    let bed = Bed {
        qemu: ctx.qemu,
        dir: ctx.dir.clone(),
        image: Image::prepare(kernel, &program, &ctx.dir, &[], order.files)?,
    };
    let (ready, ok) = (order.ready, order.ok);

    ctx.step("booting the guest");
    let mut here = bed.start_with("source", vec![card(&kind)?], Role::Source)?;
    let booted = here.vm.await_ready();
    ensure!(
        !here.vm.guest_log()?.contains(NO_ROOM),
        "the guest's files do not fit into its memory"
    );
    booted?;
    if let Some(ready) = &ready {
        ctx.step(format!(
            "waiting until the guest says \"{}\"",
            ready.as_str()
        ));
        listener.await_words(&mut here.vm, ready)?;
    }
    if !mapped.is_empty() {
        let regions = here.vm.monitor("info mtree -f")?;
        let missing = mapped.iter().find(|name| !regions.contains(**name));
        ensure!(
            missing.is_none(),
            "QEMU does not map {missing:?}: {regions}"
        );
    }
    let mut there = bed.start_with("destination", vec![card(&kind)?], Role::Destination)?;
    let mut figures = Vec::new();
    for number in 1..=moves {
        ctx.step(format!("migration {number} of {moves}"));
        figures.push(migrate(&bed, &mut here, &mut there, &mut listener, number)?);
        listener.await_answer(&mut there.vm)?;
        if number < moves {
            let Host { vm, cards } = here;
            drop(vm);
            let name = if number % 2 == 1 {
                "source"
            } else {
                "destination"
            };
            here = there;
            there = bed.start_with(name, cards, Role::Destination)?;
        }
    }
    listener.has_moved = true;
    match &ok {
        Some(ok) => {
            ctx.step(format!("waiting until the guest says \"{}\"", ok.as_str()));
            listener.await_pass(&mut there.vm, ok)?;
        }
        None => ctx.step("the guest runs on; nothing in it has used the device"),
    }
    ensure_quiet(&there)?;
    ctx.report(figures)?;
    let about = About {
        device,
        guest_lines: listener.said.len(),
        kernel: kernel_release()?,
        qemu: there.vm.version.clone(),
    };
    ctx.report(about)?;
    Ok(Outcome::Passed)
}

/// Loads the driver; returns the type of its device.
fn prepare(modules: &[&str], mdev: &str) -> Result<MdevType> {
    load("vfio_iommu_type1")?;
    load_brought(modules.iter().copied())?;
    MdevType::named(mdev)
}

fn card(kind: &MdevType) -> Result<Card> {
    Ok(Card {
        driver: AUTHORS,
        mdev: kind.create()?,
    })
}

/// Migrates the guest; it may go on using the device meanwhile.
fn migrate(
    bed: &Bed,
    source: &mut Host,
    destination: &mut Host,
    listener: &mut Listener,
    number: usize,
) -> Result<Move> {
    let socket = bed.socket("migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::start(&mut source.vm, &socket, migration::Stop::Never)?;
    let figures = migration::arrive(&mut source.vm, &mut destination.vm)?;
    let sent = source.vm.traffic()?.of(&source.cards[0].mdev.uuid);
    source.vm.quit()?;
    for message in source.vm.console().0.last_messages()? {
        listener.hear(&message)?;
    }
    destination.vm.continue_console(&mut source.vm);
    ensure_quiet(source)?;
    ensure_quiet(destination)?;
    Ok(Move {
        number,
        total_ms: figures.total_ms,
        downtime_ms: figures.downtime_ms,
        setup_ms: figures.setup_ms,
        device_bytes: figures.device_bytes,
        pre_copy_bytes: sent.pre_copy,
        stop_copy_bytes: sent.stop_copy,
    })
}

/// Listens to the guest.
struct Listener {
    fail: Option<Regex>,
    /// Everything that the guest has said.
    said: Vec<String>,
    transcript: File,
    /// Whether the guest has made its last move, and everything that it said before was heard.
    has_moved: bool,
    /// What is a pass since then.
    ok: Option<Regex>,
    /// How often it has said that.
    passes: u32,
    /// The status of the guest program, if it has ended.
    ended: Option<String>,
}

impl Listener {
    fn new(ctx: &Ctx, ok: Option<Regex>, fail: Option<Regex>) -> Result<Listener> {
        fs::create_dir_all(&ctx.dir)?;
        Ok(Listener {
            fail,
            said: Vec::new(),
            transcript: File::create(ctx.dir.join(TRANSCRIPT))?,
            has_moved: false,
            ok,
            passes: 0,
            ended: None,
        })
    }

    /// Waits for words of the guest.
    fn await_words(&mut self, vm: &mut Vm, words: &Regex) -> Result<()> {
        let what = format!("\"{}\"", words.as_str());
        self.listen(vm, &what, |_, _, lines| {
            lines.iter().any(|line| words.is_match(line))
        })
    }

    /// Requires that the guest runs: it answers, after everything that it has said before.
    fn await_answer(&mut self, vm: &mut Vm) -> Result<()> {
        let asked = vm.console().0.ask()?;
        self.listen(
            vm,
            "a sign of life",
            |_, message, _| matches!(message, Message::Report { number, .. } if *number == asked),
        )
    }

    /// Returns whether the guest has said what is a pass twice after its last move: the first time
    /// it may be the result of work before that. A program that ends says it once.
    fn has_passed(&self) -> bool {
        self.passes > u32::from(self.ended.is_none())
    }

    /// Waits for what is a pass after the last move.
    fn await_pass(&mut self, vm: &mut Vm, ok: &Regex) -> Result<()> {
        let what = format!("\"{}\" after its last move", ok.as_str());
        self.listen(vm, &what, |listener, _, _| listener.has_passed())
    }

    /// Takes the guest's messages until `pick` accepts one.
    fn listen(
        &mut self,
        vm: &mut Vm,
        what: &str,
        mut pick: impl FnMut(&Listener, &Message, &[String]) -> bool,
    ) -> Result<()> {
        let end = patience::until(LONGEST);
        let (console, process) = vm.console();
        loop {
            if let Some(status) = self.ended.as_ref().filter(|_| !self.has_passed()) {
                bail!(
                    "the guest program has ended ({status}) before it said {what}{}",
                    self.last_words()
                );
            }
            ensure!(
                !end.is_over(),
                "the guest has not said {what} in time{}",
                self.last_words()
            );
            let message = console.message(process, what, patience::until(PATIENCE));
            let message =
                message.with_context(|| format!("the guest is silent{}", self.last_words()))?;
            let lines = self.hear(&message)?;
            if pick(self, &message, &lines) {
                return Ok(());
            }
        }
    }

    /// Takes a message of the guest. Returns its lines, or an error if they are a failure.
    fn hear(&mut self, message: &Message) -> Result<Vec<String>> {
        let lines = match message {
            Message::Line { text } => vec![text.clone()],
            Message::Kernel { lines } => lines.clone(),
            Message::Ended { status } => {
                self.ended = Some(status.clone());
                return Ok(Vec::new());
            }
            _ => return Ok(Vec::new()),
        };
        for line in &lines {
            writeln!(self.transcript, "{line}")?;
        }
        self.said.extend_from_slice(&lines);
        if matches!(message, Message::Kernel { .. }) {
            let complaints = kernel_log::pick(&lines);
            let complaints = complaints.join("\n");
            ensure!(
                complaints.is_empty(),
                "the guest's kernel complains:\n{complaints}"
            );
        }
        let fails = |line: &&String| self.fail.as_ref().is_some_and(|fail| fail.is_match(line));
        if let Some(line) = lines.iter().find(fails) {
            bail!("the guest says: {line}");
        }
        let passes = |line: &&String| self.ok.as_ref().is_some_and(|ok| ok.is_match(line));
        if self.has_moved {
            self.passes += lines.iter().filter(passes).count() as u32;
        }
        Ok(lines)
    }

    /// Returns the end of a message about the guest: what it has said last.
    fn last_words(&self) -> String {
        let last = &self.said[self.said.len().saturating_sub(SHOWN)..];
        match last {
            [] => "; it has said nothing".into(),
            lines => format!("; it has said last: {}", lines.join(" | ")),
        }
    }
}
