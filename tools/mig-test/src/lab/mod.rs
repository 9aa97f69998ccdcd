// SPDX-License-Identifier: GPL-2.0
//! The lab: a cached root file system and Debian's kernels, and a VM that runs jobs in them.

mod abi;
mod accel;
pub mod apart;
mod apt;
mod boot_image;
mod bootstrap;
pub mod brought;
mod cache;
mod check;
mod chroot;
mod component;
mod deb822;
mod debug_kernel;
pub mod doc;
pub mod editor;
pub mod format;
pub mod install;
pub mod job;
pub mod modules;
mod monitor;
mod packages;
mod platform;
mod qemu_root;
mod root;
mod seat;
mod stage;
mod stamp;
mod starvation;
mod stock_kernel;
mod task;
mod vm;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::failure::unusable;
use crate::progress::Progress;
use apart::Apart;
use cache::{lock, Access, Cache, Entry};
use component::{Components, ALL};
use modules::Goal;
pub use platform::{Choice, Kernel, Platform};
pub use seat::Seat;
pub use vm::{Accelerator, Hardware, Machine};

/// A lab that is set up. While this exists, no other process changes what it uses.
pub struct Lab {
    components: Components,
    /// The project's folder.
    pub project: PathBuf,
    /// The folder for results.
    pub target: PathBuf,
    choices: Vec<Choice>,
    work: PathBuf,
    cache: Cache,
    _work: File,
}

impl Lab {
    /// Sets up what is missing for `choices`, and locks the lab.
    pub fn open(mirror: Option<&str>, choices: &[Choice]) -> Result<Self> {
        let project = project()?;
        let folder = Cache::folder()?;
        check::privileges()?;
        let mut cache = Cache::open(&folder, Access::Shared)?;
        let mut components = Components::find(&cache);
        while !components.complete(choices) {
            drop(cache);
            components = set_up(&folder, choices, mirror)?;
            cache = Cache::open(&folder, Access::Shared)?;
            components.refresh(&cache);
        }
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => std::path::absolute(target)?,
            None => project.join("target"),
        };
        let work = target.join("lab");
        let held = lock(&work, Access::Exclusive)?;
        Ok(Lab {
            components,
            project,
            target,
            choices: choices.to_vec(),
            work,
            cache,
            _work: held,
        })
    }

    /// Returns the kernel of commands that select none.
    pub fn default_kernel(&self) -> Kernel {
        self.components.default_kernel()
    }

    /// Returns the platform that a command line has selected.
    pub fn platform(&self, choice: Choice) -> Platform {
        choice.platform(self.default_kernel())
    }

    /// Returns the simplest platform of those that the lab was opened for: one of Debian's kernels,
    /// and the lab's own QEMU.
    pub fn simplest(&self) -> Platform {
        let first = self.choices.first().copied().unwrap_or_default();
        self.platform(Choice::kernel(self.platform(first).guest))
    }

    /// Returns the suffix of folders with results for a kernel; it is empty for the default one.
    pub fn suffix(&self, kernel: Kernel) -> String {
        if kernel == self.default_kernel() {
            String::new()
        } else {
            format!("-{}", kernel.name())
        }
    }

    /// Returns a place for a VM. Two VMs must not use it at the same time.
    pub fn seat(&self, number: usize) -> Seat {
        Seat::new(&self.work, number)
    }

    /// Returns the accelerator for the VM on this machine.
    pub fn accelerator(&self) -> Result<Accelerator> {
        accel::choose(self)
    }

    /// Runs a shell in the VM, on this terminal.
    pub fn shell(&self, platform: Platform) -> Result<()> {
        if let Some(reason) = self.lacks(platform) {
            unusable!("{reason}. Choose another with --qemu.");
        }
        let machine = Machine {
            accelerator: self.accelerator()?,
            platform,
            hardware: Hardware::Usual,
        };
        let seat = self.seat(1);
        job::prepare_shell(&seat)?;
        vm::interactive(&self.components, &seat, machine)
    }

    /// Builds the modules for a kernel if necessary, and installs them for the next VM.
    pub fn install_modules(&self, kernel: Kernel) -> Result<()> {
        modules::build(self, kernel, Goal::Modules)?;
        modules::build_c_peer(self, kernel)?;
        stage::stage(self, kernel, &modules::current(self, kernel)?, &[])
    }

    /// The same, with the modules that only scenarios need.
    pub fn install_test_modules(&self, kernel: Kernel) -> Result<()> {
        self.build_test_modules(kernel, &apart::OURS)?;
        stage::stage(self, kernel, &apart::OURS, &[])
    }

    /// Builds the modules that every scenario needs for a kernel, and those of `apart`.
    pub fn build_test_modules(&self, kernel: Kernel, apart: &[Apart]) -> Result<()> {
        modules::build(self, kernel, Goal::Modules)?;
        for apart in apart {
            modules::build_ours(self, kernel, apart, Goal::Modules)?;
        }
        modules::build_c_peer(self, kernel)
    }

    /// Returns the reason why a platform is unavailable here, if it is.
    pub fn lacks(&self, platform: Platform) -> Option<&str> {
        let components = platform.components();
        let reasons = components
            .iter()
            .map(|name| self.components.unavailable(name));
        reasons.flatten().next()
    }

    /// Refuses a kernel that the mirror lacks.
    pub fn require(&self, kernel: Kernel) -> Result<()> {
        match self.components.unavailable(kernel.tree()) {
            Some(reason) => unusable!("{reason}"),
            None => Ok(()),
        }
    }

    /// Returns the versions for a report: of the kernel, and of the QEMU that runs guests.
    pub fn versions(&self, platform: Platform) -> (&str, &str) {
        let fact = |component, name| {
            let component = self.components.get(component);
            component.map_or("none", |component| component.fact(name))
        };
        (
            fact(platform.kernel.tree(), "abi"),
            fact(qemu_root::component(platform.qemu), "qemu"),
        )
    }
}

fn set_up(folder: &Path, choices: &[Choice], mirror: Option<&str>) -> Result<Components> {
    check::programs(&["mmdebstrap", "apt-get", "apt-cache"])?;
    let cache = Cache::open(folder, Access::Exclusive)?;
    // Another process may have done it while this one waited.
    let mut found = Components::find(&cache);
    if !found.complete(choices) {
        found.remove_outdated(&cache)?;
        check::space(folder, found.space(choices))?;
        found.set_up(&cache, choices, mirror)?;
    }
    Ok(found)
}

/// Removes leftovers of interrupted and outdated set-ups.
pub fn tidy() -> Result<()> {
    let cache = Cache::open(&Cache::folder()?, Access::Exclusive)?;
    Components::find(&cache).remove_outdated(&cache)
}

/// Runs a program of the host. Returns whether it succeeded, and its output.
pub fn run_logged(lab: &Lab, what: &str, log: &str, command: Command) -> Result<(bool, String)> {
    let progress = Progress::start(what);
    let log = lab.work.join(format!("{log}.log"));
    let result = task::run(what, command, &log, &progress);
    progress.done();
    match result {
        Ok(output) => Ok((true, output)),
        Err(error) if error.is::<task::Failed>() => Ok((false, fs::read_to_string(log)?)),
        Err(error) => Err(error),
    }
}

/// The project's folder when this program was built.
const BUILT_FROM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn is_project(path: &Path) -> bool {
    path.join("sdk/kernel/Kbuild").is_file()
}

/// Returns the project's folder: the current one, or the nearest above it, or else the one that
/// this program was built from.
fn project() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    match here
        .ancestors()
        .find(|path| is_project(path))
        .or(Some(Path::new(BUILT_FROM)))
        .filter(|path| is_project(path))
    {
        Some(project) => Ok(fs::canonicalize(project)?),
        None => unusable!(
            "{} is not in the project's source tree, and the one that mig-test was built from is \
             gone. Change into one.",
            here.display()
        ),
    }
}

/// Prints what is cached.
pub fn status() -> Result<()> {
    let folder = Cache::folder()?;
    println!("cache: {}", folder.display());
    if !folder.exists() {
        println!("nothing is set up yet: run mig-test lab setup");
        return Ok(());
    }
    let cache = Cache::open(&folder, Access::Shared)?;
    let found = Components::find(&cache);
    for component in ALL {
        match found.get(component.name) {
            Some(ready) => {
                let facts: Vec<_> = ready
                    .facts
                    .iter()
                    .map(|(k, v)| format!("{k} {v}"))
                    .collect();
                let size = check::size(size_of(&ready.path));
                println!(
                    "ready    {:10} {size:>9}  {}",
                    component.name, component.about
                );
                if !facts.is_empty() {
                    println!("{:31}{}", "", facts.join(", "));
                }
            }
            None => println!(
                "{:8} {:10} {:>9}  {}",
                match component.only_for {
                    Some(_) => "unused",
                    None => "missing",
                },
                component.name,
                "",
                component.about
            ),
        }
    }
    println!("KVM      {}", accel::known(&cache, &found)?);
    for (path, entry) in cache.entries()? {
        if ALL
            .iter()
            .filter_map(|c| found.get(c.name))
            .any(|ready| ready.path == path)
        {
            continue;
        }
        let what = match entry {
            Entry::Debris => "what an interrupted set-up left",
            Entry::Complete { .. } => "made for other versions or by an older recipe",
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let size = check::size(size_of(&path));
        println!("outdated {name} {size}  {what}; the next set-up removes it");
    }
    Ok(())
}

/// Removes everything that is cached.
pub fn clean() -> Result<()> {
    let folder = Cache::folder()?;
    if !folder.exists() {
        return Ok(());
    }
    let cache = Cache::open(&folder, Access::Exclusive)?;
    for (path, _) in cache.entries()? {
        println!("removing {}", path.display());
        cache::remove(&path)?;
    }
    for component in ALL {
        let _ = fs::remove_file(cache.log(component.name));
    }
    accel::forget(&cache);
    Ok(())
}

/// Returns the disk usage of a folder in bytes.
fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
