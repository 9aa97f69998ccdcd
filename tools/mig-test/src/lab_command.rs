// SPDX-License-Identifier: GPL-2.0
//! The commands of the lab.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::checks;
use crate::cli::{KernelArgs, PlatformArgs};
use crate::lab::{self, brought, modules::Goal, Choice, Kernel, Lab};

#[derive(Subcommand)]
pub enum LabCommand {
    /// Build what is missing or outdated, and remove what is of no more use
    Setup(PlatformArgs),
    /// Say what is cached, of which version and size
    Status,
    /// Remove everything that is cached
    Clean,
    /// A shell in the lab VM, with the modules installed; exit or Ctrl-A X leaves it
    Shell {
        #[command(flatten)]
        modules: ModuleArgs,
        #[command(flatten)]
        platform: PlatformArgs,
    },
    /// Build the kernel modules into target/kmod
    Build {
        #[command(flatten)]
        modules: ModuleArgs,
        /// From scratch, and fail on any warning
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Run clippy on the kernel modules; fail on any warning
    Clippy {
        #[command(flatten)]
        modules: ModuleArgs,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Write the documentation of the SDK into target/doc; fail on any warning
    Doc {
        /// Compile the examples in it instead
        #[arg(long)]
        examples: bool,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Install the kernel modules
    Install {
        /// The root to install below
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        #[command(flatten)]
        kernel: KernelArgs,
    },
    /// Write rust-project.json, which tells rust-analyzer about the kernel side
    RustAnalyzer {
        /// The same in this folder, for the driver whose source it has
        #[arg(long = "module", value_name = "FOLDER")]
        module: Option<PathBuf>,
    },
}

/// The user's own drivers.
#[derive(Args)]
pub struct ModuleArgs {
    /// The same for this driver: the folder of its source. May be given more than once
    #[arg(long = "module", value_name = "FOLDER")]
    modules: Vec<PathBuf>,
}

/// Executes a command of the lab.
pub fn run(command: LabCommand, open: impl Fn(&[Choice]) -> Result<Lab>) -> Result<()> {
    // The lab, and the kernel of it that a command is for.
    let of = |kernel: KernelArgs| -> Result<(Lab, Kernel)> {
        let lab = open(&[kernel.choice()])?;
        let kernel = lab.platform(kernel.choice()).kernel;
        lab.require(kernel)?;
        Ok((lab, kernel))
    };
    match command {
        LabCommand::Setup(args) => {
            let lab = open(&[args.choice()])?;
            lab.require(lab.platform(args.choice()).kernel)?;
            drop(lab);
            lab::tidy()
        }
        LabCommand::Status => lab::status(),
        LabCommand::Clean => lab::clean(),
        LabCommand::Shell { modules, platform } => {
            let lab = open(&[platform.choice()])?;
            let platform = lab.platform(platform.choice());
            lab.require(platform.kernel)?;
            brought::install_for_shell(&lab, platform.kernel, &modules.modules)?;
            lab.shell(platform)
        }
        LabCommand::Build {
            modules,
            strict,
            kernel,
        } => {
            let (lab, kernel) = of(kernel)?;
            if !modules.modules.is_empty() {
                return brought::make(&lab, kernel, &modules.modules, Goal::Fresh);
            }
            if strict {
                return lab::modules::strict(&lab, kernel, Goal::Fresh);
            }
            for warning in lab::modules::build(&lab, kernel, Goal::Modules)? {
                eprintln!("{warning}");
            }
            let folder = lab.target.join(format!("kmod{}", lab.suffix(kernel)));
            println!("the modules are in {}", folder.display());
            Ok(())
        }
        LabCommand::Clippy { modules, kernel } => {
            let (lab, kernel) = of(kernel)?;
            if !modules.modules.is_empty() {
                return brought::make(&lab, kernel, &modules.modules, Goal::Clippy);
            }
            lab::modules::strict(&lab, kernel, Goal::Clippy)
        }
        LabCommand::Doc { examples, kernel } => {
            let (lab, kernel) = of(kernel)?;
            if examples {
                return checks::examples(&lab, kernel).map(drop);
            }
            println!("{}", lab::doc::write(&lab, kernel)?.display());
            Ok(())
        }
        LabCommand::Install { root, kernel } => {
            let (lab, kernel) = of(kernel)?;
            lab::install::install(&lab, kernel, &root)
        }
        LabCommand::RustAnalyzer { module } => {
            let (lab, _) = of(KernelArgs { kernel: None })?;
            lab::editor::describe(&lab, module.as_deref())
        }
    }
}
