// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::lab::{self, modules::Goal, Kernel, Lab, Platform};
use crate::qemu::version::Qemu;
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
  mig-test run --list                  what can be proved
  mig-test run demo mtty-c-baseline    the Rust driver and its peer in C
  mig-test lab shell                   try the drivers by hand

The first use sets up the lab in ~/.cache/mdev-sdk, which takes some minutes and 5.1 GiB; 3 stay.
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
    /// Run all scenarios but the benchmarks; KTAP, and counts in the last line
    Test(TestArgs),
    /// Measure in instructions, which repeats exactly
    Bench {
        /// Write the figures there, as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// The cached root, kernel tree and virtual machine that everything runs in
    #[command(subcommand)]
    Lab(LabCommand),
    /// The side inside the lab VM
    #[command(hide = true)]
    Agent,
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
    fn platforms(&self) -> Vec<Platform> {
        match (self.all, self.kernel, self.qemu) {
            (true, ..) => plan::ALL.into(),
            (false, None, None) => plan::USUAL.into(),
            (false, kernel, qemu) => vec![Platform {
                kernel: kernel.unwrap_or_default(),
                qemu: qemu.unwrap_or_default(),
            }],
        }
    }
}

/// What the lab VM consists of.
#[derive(Args)]
pub struct PlatformArgs {
    /// The kernel of the lab VM. The debug kernel is built at its first use, which takes long
    #[arg(long, value_enum, default_value_t = Kernel::default())]
    pub kernel: Kernel,
    /// Run guests under this QEMU. Another than 10.0 is fetched at its first use
    #[arg(long, value_enum, value_name = "SERIES", default_value_t = Qemu::default())]
    pub qemu: Qemu,
}

impl PlatformArgs {
    /// The same as the lab names it.
    pub fn platform(&self) -> Platform {
        Platform {
            kernel: self.kernel,
            qemu: self.qemu,
        }
    }
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
    /// Also load this in the lab VM: a module built for its kernel, or the folder of a driver's source,
    /// which is built in the lab. For tests of a driver of yours, with --option mdev=PARENT/TYPE
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

#[derive(Subcommand)]
enum LabCommand {
    /// Build what is missing or outdated, and remove what is of no more use
    Setup(PlatformArgs),
    /// Say what is cached, of which version and size
    Status,
    /// Remove everything that is cached
    Clean,
    /// A shell in the lab VM, with the modules installed; exit or Ctrl-A X leaves it
    Shell(PlatformArgs),
    /// Build the kernel modules into target/kmod
    Build {
        /// From scratch, and fail on any warning
        #[arg(long)]
        strict: bool,
    },
    /// Run clippy on the kernel modules; fail on any warning
    Clippy,
    /// Install the kernel modules for the stock kernel
    Install {
        /// The root to install below
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
    },
    /// Write rust-project.json, which tells rust-analyzer about the kernel side
    RustAnalyzer,
}

fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("an option is a name, an equals sign and a value, like workloads=100".into()),
    }
}

/// Does what the command line says.
pub fn main() -> Result<()> {
    let cli = Cli::parse();
    let mirror = cli.mirror.as_deref().filter(|mirror| !mirror.is_empty());
    let open = |platforms: &[Platform]| Lab::open(mirror, platforms);
    match cli.command {
        Command::Demo(args) => {
            let platform = args.platform.platform();
            commands::demo(&open(&[platform])?, platform, &args.series)
        }
        Command::Run(args) if args.list => {
            commands::list();
            Ok(())
        }
        Command::Run(args) => {
            let options: BTreeMap<_, _> = args.options.iter().cloned().collect();
            commands::check(&args.names, &options)?;
            lab::brought::check(&args.modules, &options)?;
            commands::run(&open(&[args.platform.platform()])?, &args, &options)
        }
        Command::Test(args) => {
            let platforms = args.platforms();
            let batches = plan::batches(&platforms);
            tree::test(&open(&platforms)?, args.tree, &batches)
        }
        Command::Bench { report } => commands::bench(&open(&[])?, report.as_deref()),
        Command::Lab(command) => lab(command, open),
        Command::Agent => agent::main(),
    }
}

fn lab(command: LabCommand, open: impl Fn(&[Platform]) -> Result<Lab>) -> Result<()> {
    match command {
        LabCommand::Setup(args) => {
            drop(open(&[args.platform()])?);
            lab::tidy()
        }
        LabCommand::Status => lab::status(),
        LabCommand::Clean => lab::clean(),
        LabCommand::Shell(args) => {
            let platform = args.platform();
            let lab = open(&[platform])?;
            lab.install_modules(platform.kernel)?;
            lab.shell(platform)
        }
        LabCommand::Build { strict: true } => lab::modules::strict(&open(&[])?, Goal::Fresh),
        LabCommand::Build { strict: false } => {
            let lab = open(&[])?;
            for warning in lab::modules::build(&lab, Kernel::Stock, Goal::Modules)? {
                eprintln!("{warning}");
            }
            println!("the modules are in {}", lab.target.join("kmod").display());
            Ok(())
        }
        LabCommand::Clippy => lab::modules::strict(&open(&[])?, Goal::Clippy),
        LabCommand::Install { root } => lab::install::install(&open(&[])?, &root),
        LabCommand::RustAnalyzer => lab::install::rust_analyzer(&open(&[])?),
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
