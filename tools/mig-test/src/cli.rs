// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::compat::{self, CompatArgs};
use crate::conform::command;
use crate::lab::{brought, Choice, Kernel, Lab};
use crate::lab_command::{self, LabCommand};
use crate::migrate::{self, MigrateArgs};
use crate::new::{self, NewArgs};
use crate::qemu::version::Qemu;
use crate::scenario::killed_client::client;
use crate::scenario::mgpu::killed::{vmm, Order, Way};
use crate::series::SeriesArgs;
use crate::{agent, commands, plan, tree};

/// Proves that VFIO mediated devices live-migrate: on a stock Debian kernel, under unmodified QEMU,
/// in a virtual machine, so that nothing happens to this one.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  mig-test demo                        migrate a running guest, see the figures
  mig-test demo --kernel 7.2           the same on another kernel than the newest
  mig-test run --list                  what can be proved
  mig-test run demo mtty-c-baseline    the Rust driver and its peer in C
  mig-test new my_card                 begin a driver of your own
  mig-test lab shell                   try the drivers by hand

The first use sets up the lab in ~/.cache/mdev-sdk, which takes some minutes and 4.6 GiB; 2.9 stay.
Exit codes: 0 all passed, 1 something failed, 2 the machine or the command line is not suitable."
)]
pub struct Cli {
    /// Take Debian's packages from here instead of the mirror of this machine's apt
    #[arg(long, global = true, env = "MIG_TEST_MIRROR", value_name = "URI")]
    mirror: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Migrate a running Linux guest with a device of each driver; print and keep the figures
    #[command(after_help = "\
Examples:
  mig-test demo
  mig-test demo --times 100 --load 4    100 times, with four busy threads beside it; counts")]
    Demo(DemoArgs),
    /// Begin a driver of your own: one that builds, passes conform and migrates as it is made
    #[command(after_help = "\
Examples:
  mig-test new my_card
  mig-test conform --module my_card
  mig-test migrate --module my_card

The folder is a tree of its own. Documentation/vendor-guide.md goes on from it.")]
    New(NewArgs),
    /// Migrate a guest with a device of your own driver, while your program in the guest uses it
    #[command(after_help = "\
Examples:
  mig-test migrate --module FOLDER
  mig-test migrate --module FOLDER --mdev PARENT/TYPE
  mig-test migrate --module FOLDER --mdev PARENT/TYPE --guest-program FILE \\
      --ready '100 rounds' --ok 'rounds, 0 wrong' --fail '[1-9] wrong' --moves 4
  mig-test migrate --module FOLDER --mdev PARENT/TYPE --guest-module FILE.ko --ok 'all well'

Programs and modules in the guest print to standard output and to the kernel's log. Without any,
the only test is whether the guest runs on. What the command line leaves out, a driver's Cargo.toml
may say, as that of mig-test new does.")]
    Migrate(MigrateArgs),
    /// Run scenarios by name
    #[command(after_help = "\
Examples:
  mig-test run ping-pong
  mig-test run ping-pong --times 30 --load 4 --stop-at-failure
  mig-test run demo mtty-c-baseline --report both.json
  mig-test run mgpu-guest-random --option workloads=100
  mig-test run conformance-states --module FOLDER --option mdev=PARENT/TYPE
  mig-test run demo --qemu 11.1")]
    Run(RunArgs),
    /// Check that a device keeps every rule that a migration depends on; one verdict a rule
    #[command(after_help = "\
Examples:
  mig-test conform                                    each driver of this project
  mig-test conform --module FOLDER                    a driver that mig-test new has made
  mig-test conform --module FOLDER --mdev PARENT/TYPE --exercise FILE
  mig-test conform --driver mtty --rule move          the kernel's sample in C, one group of rules
  mig-test conform --here --device /sys/bus/mdev/devices/UUID --format ktap

Exit codes: 0 no rule is violated, 1 some are, 2 the machine or the command line is not suitable.")]
    Conform(ConformArgs),
    /// Say whether a device would load what another one saves, before any migration
    #[command(after_help = "\
Examples:
  mig-test compat UUID mgpu_rs/mgpu-16       two of this host
  ssh HOST cat /sys/class/mdev_bus/mgpu_rs/match_data/mgpu-16 | mig-test compat UUID -

A destination that refuses a migration says the same, in the same words, in its kernel log.
Exit codes: 0 it would, 1 it would not, 2 one of the two cannot be asked.")]
    Compat(CompatArgs),
    /// Run all scenarios but the benchmarks; KTAP, and counts in the last line
    Test(TestArgs),
    /// Measure in instructions, which repeats exactly
    Bench {
        /// Write the figures there, as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// The cached root, kernel tree and virtual machine that everything runs in
    #[command(subcommand)]
    Lab(LabCommand),
    /// The side inside the lab VM
    #[command(hide = true)]
    Agent,
    /// A process of `mgpu-killed` there
    #[command(hide = true)]
    Vmm {
        /// What it waits for
        way: Way,
        /// Which of its files it opens first
        order: Order,
    },
    /// A process of `killed-client` there
    #[command(hide = true)]
    Client {
        /// The device's folder
        device: PathBuf,
        /// What decides what it does
        seed: u64,
        /// Whether the device has calls for pins
        #[arg(action = clap::ArgAction::Set)]
        has_pins: bool,
    },
}

#[derive(Args)]
pub struct TestArgs {
    /// Also check the source tree: tests, lints and formatting of all Rust, warnings of modules
    #[arg(long)]
    tree: bool,
    /// Also what takes long: every QEMU there is, and the debug kernel
    #[arg(long, conflicts_with_all = ["qemu", "kernel"])]
    all: bool,
    /// Only on this kernel
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// Only under this QEMU
    #[arg(long, value_enum, value_name = "SERIES")]
    qemu: Option<Qemu>,
}

impl TestArgs {
    /// Where to run what there is.
    fn choices(&self) -> Vec<Choice> {
        match (self.all, self.kernel, self.qemu) {
            (true, ..) => plan::ALL.into(),
            (false, None, None) => plan::USUAL.into(),
            (false, kernel, qemu) => vec![Choice {
                kernel,
                qemu: qemu.unwrap_or_default(),
            }],
        }
    }
}

/// For which kernel.
#[derive(Args, Clone, Copy)]
pub struct KernelArgs {
    /// The kernel: the newest of Debian's if this is left out. Another than the default one is
    /// fetched at its first use; the debug kernel is then built, which takes long
    #[arg(long, value_enum)]
    pub kernel: Option<Kernel>,
}

impl KernelArgs {
    /// The same as the lab names it, with the usual QEMU.
    pub fn choice(self) -> Choice {
        Choice {
            kernel: self.kernel,
            ..Choice::default()
        }
    }
}

/// What the lab VM consists of.
#[derive(Args)]
pub struct PlatformArgs {
    #[command(flatten)]
    kernel: KernelArgs,
    /// Run guests under this QEMU. Another than 10.0 is fetched at its first use
    #[arg(long, value_enum, value_name = "SERIES", default_value_t = Qemu::default())]
    qemu: Qemu,
}

impl PlatformArgs {
    /// The same as the lab names it.
    pub fn choice(&self) -> Choice {
        Choice {
            qemu: self.qemu,
            ..self.kernel.choice()
        }
    }
}

#[derive(Args)]
pub struct ConformArgs {
    #[command(flatten)]
    what: command::Selection,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Args)]
pub struct DemoArgs {
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    platform: PlatformArgs,
}

#[derive(Args)]
pub struct RunArgs {
    /// Scenarios, in this order
    #[arg(required_unless_present = "list")]
    pub names: Vec<String>,
    /// Say which scenarios there are
    #[arg(long)]
    pub list: bool,
    /// Count instructions instead of time: slow, and repeats exactly
    #[arg(long)]
    pub icount: bool,
    /// Write the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Set an option of the scenarios; --list says which there are
    #[arg(long = "option", short, value_name = "NAME=VALUE", value_parser = option)]
    pub options: Vec<(String, String)>,
    /// Also load this in the lab VM: a module built for its kernel, or the folder of a driver's
    /// source, which is built in the lab. For tests of a driver of yours, with --option
    /// mdev=PARENT/TYPE
    #[arg(long = "module", value_name = "PATH")]
    pub modules: Vec<PathBuf>,
    /// Use the kernel modules as they were built last
    #[arg(long)]
    pub no_build: bool,
    #[command(flatten)]
    pub series: SeriesArgs,
    #[command(flatten)]
    pub platform: PlatformArgs,
}

fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("an option is a name, an equals sign and a value, like workloads=100".into()),
    }
}

/// Executes the command line.
pub fn main() -> Result<()> {
    let cli = Cli::parse();
    let mirror = cli.mirror.as_deref().filter(|mirror| !mirror.is_empty());
    let open = |choices: &[Choice]| Lab::open(mirror, choices);
    match cli.command {
        Command::Demo(args) => {
            let lab = open(&[args.platform.choice()])?;
            commands::demo(&lab, lab.platform(args.platform.choice()), &args.series)
        }
        Command::Run(args) if args.list => {
            commands::list();
            Ok(())
        }
        Command::Run(args) => {
            let options: BTreeMap<_, _> = args.options.iter().cloned().collect();
            commands::check(&args.names, &options)?;
            brought::check(&args.modules, &options)?;
            commands::run(&open(&[args.platform.choice()])?, &args, &options)
        }
        Command::Conform(args) if args.what.list => {
            command::list();
            Ok(())
        }
        Command::New(args) => new::run(&args),
        Command::Compat(args) => compat::run(&args),
        Command::Conform(args) if args.what.here => command::run(None, &args.what),
        Command::Conform(mut args) => {
            // Before the lab is set up, which may take long.
            args.what.complete()?;
            args.what.options()?;
            let lab = open(&[args.kernel.choice()])?;
            let platform = lab.platform(args.kernel.choice());
            command::run(Some((&lab, platform)), &args.what)
        }
        Command::Migrate(mut args) => {
            args.complete()?;
            args.check()?;
            migrate::run(&open(&[args.platform.choice()])?, &args)
        }
        Command::Test(args) => {
            let choices = args.choices();
            let built_for: &[_] = if args.tree { &plan::BUILT_FOR } else { &[] };
            let lab = open(&[&choices, built_for].concat())?;
            lab.require(lab.platform(choices[0]).kernel)?;
            let batches = plan::batches(&choices, args.all, lab.default_kernel());
            tree::test(&lab, args.tree, &batches)
        }
        Command::Bench { report, kernel } => {
            let lab = open(&[kernel.choice()])?;
            commands::bench(&lab, lab.platform(kernel.choice()), report.as_deref())
        }
        Command::Lab(command) => lab_command::run(command, open),
        Command::Agent => agent::main(),
        Command::Vmm { way, order } => vmm(way, order),
        Command::Client {
            device,
            seed,
            has_pins,
        } => client(&device, seed, has_pins),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_wants_names_or_the_list() {
        assert!(Cli::try_parse_from(["mig-test", "run"]).is_err());
        assert!(Cli::try_parse_from(["mig-test", "run", "--list"]).is_ok());
        assert!(Cli::try_parse_from(["mig-test", "run", "demo"]).is_ok());
    }

    #[test]
    fn an_option_without_a_value_is_refused_with_an_example() {
        assert_eq!(
            option("workloads=5").unwrap(),
            ("workloads".into(), "5".into())
        );
        assert!(option("workloads").unwrap_err().contains("workloads=100"));
        assert!(option("=5").is_err());
    }
}
