// SPDX-License-Identifier: GPL-2.0
//! The device under test: one that the user selects, or a new one of each of this project's
//! drivers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use mdev_model::stream::MAGIC;
use mgpu_model::uapi::BAR_VRAM;

use crate::event::Outcome;
use crate::mdev::{self, Mdev, MdevType};
use crate::scenario::bed::{load, MGPU_16, ONE_PORT};
use crate::scenario::Ctx;
use crate::vfio::device::Device;

/// The option with the modules to load first, separated by commas; `--module` sets it.
pub const MODULES: &str = "modules";
/// The option with the type of the device to make.
pub const MDEV: &str = "mdev";
/// The option with an existing device.
pub const DEVICE: &str = "device";
/// The number of bytes at the beginning of a stream of records that contain its magic.
const HEAD: usize = 64;

/// A byte in a BAR that a guest can write, that is saved, and that is 0 after a reset.
#[derive(Clone, Copy)]
struct Mark {
    bar: u32,
    offset: u64,
}

/// A driver whose device the scenarios support.
struct Sample {
    module: &'static str,
    /// Parent and type.
    mdev: [&'static str; 2],
    mark: Mark,
    /// Whether the registers of BAR 0 begin with those of a 16550.
    is_uart: bool,
}

/// The scratch register of a 16550.
const SCRATCH: Mark = Mark { bar: 0, offset: 7 };

/// What is tested unless an option says otherwise.
const OURS: [Sample; 3] = [
    Sample {
        module: "mtty_rs",
        mdev: ["mtty_rs", ONE_PORT],
        mark: SCRATCH,
        is_uart: true,
    },
    Sample {
        module: "mgpu_rs",
        mdev: ["mgpu_rs", MGPU_16],
        mark: Mark {
            bar: BAR_VRAM as u32,
            offset: 0x1234,
        },
        is_uart: false,
    },
    // The vendor guide's.
    Sample {
        module: "scratch",
        mdev: ["scratch", "scratch-1"],
        mark: Mark {
            bar: 1,
            offset: 0x1234,
        },
        is_uart: false,
    },
];

/// Mainline's driver, in C.
const MAINLINE: Sample = Sample {
    module: "mtty",
    mdev: ["mtty", ONE_PORT],
    mark: SCRATCH,
    is_uart: true,
};

/// A device and its known properties.
pub struct Target {
    path: PathBuf,
    /// Whether it is this project's, and so has everything that the SDK offers.
    pub is_ours: bool,
    mark: Option<Mark>,
    is_uart: bool,
    /// Removed at the end.
    _mdev: Option<Mdev>,
}

/// The test of one device.
pub type Test = fn(&mut Ctx, Target) -> Result<Outcome>;

/// Tests the device that the options select, or else a new one of each of this project's drivers.
pub fn on_each(ctx: &mut Ctx, test: Test) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    for module in ctx
        .options
        .get(MODULES)
        .into_iter()
        .flat_map(|all| all.split(','))
    {
        load(module).with_context(|| {
            format!("{module} does not load; the kernel says why in target/lab/vm-1/console.log")
        })?;
    }
    if let Some(target) = Target::named(ctx)? {
        return test(ctx, target);
    }
    let samples: Vec<&Sample> = match ctx.options.get("driver").map(String::as_str) {
        None => OURS.iter().collect(),
        Some(name) => {
            let mut all = OURS.iter().chain([&MAINLINE]);
            let found = all.find(|sample| sample.module == name).with_context(|| {
                format!(
                    "there is no driver {name} here; use mtty_rs, mgpu_rs, scratch or mtty, or \
                     bring your own with --module PATH --option {MDEV}=PARENT/TYPE"
                )
            })?;
            vec![found]
        }
    };
    let mut outcomes = Vec::new();
    for sample in samples {
        ctx.step(format!("testing a device of {}", sample.module));
        let outcome = Target::sample(sample).and_then(|target| test(ctx, target));
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed {
            reason: format!("{error:#}"),
        });
        outcomes.push((sample.module, outcome));
    }
    Ok(all_of(outcomes))
}

/// Returns failed if one has failed, with the reason of each; skipped if one was skipped.
fn all_of(outcomes: Vec<(&str, Outcome)>) -> Outcome {
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    for (name, outcome) in outcomes {
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped { reason } => skipped.push(format!("{name}: {reason}")),
            Outcome::Failed { reason } => failed.push(format!("{name}: {reason}")),
        }
    }
    if !failed.is_empty() {
        let reason = failed.join("\n");
        return Outcome::Failed { reason };
    }
    if !skipped.is_empty() {
        let reason = skipped.join("; ");
        return Outcome::Skipped { reason };
    }
    Outcome::Passed
}

impl Target {
    /// Returns the device that the options select.
    fn named(ctx: &mut Ctx) -> Result<Option<Target>> {
        let mark = ctx.options.get("mark").map(|text| parse_mark(text));
        let (path, mdev) = match (ctx.options.get(DEVICE), ctx.options.get(MDEV)) {
            (None, None) => {
                ensure!(
                    mark.is_none(),
                    "the option mark is for a device that the option {DEVICE} or {MDEV} names"
                );
                return Ok(None);
            }
            (Some(_), Some(_)) => bail!("give one of the options {DEVICE} and {MDEV}"),
            (Some(path), None) => (PathBuf::from(path), None),
            (None, Some(name)) => {
                let mdev = find(name)?.create()?;
                (mdev.path().to_owned(), Some(mdev))
            }
        };
        ctx.step(format!("testing {}", path.display()));
        if mark.is_none() {
            ctx.step("no option mark=BAR:OFFSET: what a load changes is not looked at");
        }
        Ok(Some(Target {
            path,
            is_ours: false,
            mark: mark.transpose()?,
            is_uart: false,
            _mdev: mdev,
        }))
    }

    /// Makes a new device of a driver.
    fn sample(sample: &Sample) -> Result<Target> {
        load(sample.module)?;
        let [parent, kind] = sample.mdev;
        let mdev = MdevType::find(parent, kind)?.create()?;
        Ok(Target {
            path: mdev.path().to_owned(),
            is_ours: sample.module != MAINLINE.module,
            mark: Some(sample.mark),
            is_uart: sample.is_uart,
            _mdev: Some(mdev),
        })
    }

    /// Returns whether this device's stream consists of the SDK's records, with checksum.
    pub fn has_records(&self, stream: &[u8]) -> bool {
        let head = &stream[..stream.len().min(HEAD)];
        self.is_ours || head.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
    }

    /// The device's folder in sysfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    pub fn open(&self) -> Result<Device> {
        Device::open(&self.path)
    }

    fn mark_at(&self, device: &Device) -> Result<Option<u64>> {
        let Some(mark) = self.mark else {
            return Ok(None);
        };
        let bar = device.region(mark.bar, None)?;
        ensure!(
            mark.offset < bar.size,
            "BAR {} has {} bytes, and none at {:#x}: choose another mark",
            mark.bar,
            bar.size,
            mark.offset
        );
        Ok(Some(bar.offset + mark.offset))
    }

    /// Writes to the byte of the device that keeps its value, if one is known.
    pub fn mark(&self, device: &Device, value: u8) -> Result<()> {
        if let Some(at) = self.mark_at(device)? {
            device.write_byte(at, value).context("write the mark")?;
            let found = device.read_byte(at).context("read the mark")?;
            ensure!(
                found == value,
                "the mark keeps {found:#x} instead of {value:#x}: it has to be a byte that keeps \
                 what is written to it"
            );
        }
        Ok(())
    }

    /// Reads that byte.
    pub fn marked(&self, device: &Device) -> Result<Option<u8>> {
        let at = self.mark_at(device)?;
        let read = at.map(|at| device.read_byte(at).context("read the mark"));
        read.transpose()
    }

    /// Returns the registers of the card's first port, if it is a serial card.
    pub fn uart(&self, device: &Device) -> Result<Option<Uart>> {
        if !self.is_uart {
            return Ok(None);
        }
        let base = device.region(SCRATCH.bar, None)?.offset;
        Ok(Some(Uart { base }))
    }
}

/// Parses `BAR:OFFSET`; the offset may be hexadecimal.
fn parse_mark(text: &str) -> Result<Mark> {
    let parsed = text.split_once(':').and_then(|(bar, offset)| {
        let offset = match offset.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None => offset.parse().ok()?,
        };
        let bar = bar.parse().ok().filter(|bar| *bar < 6)?;
        Some(Mark { bar, offset })
    });
    parsed.with_context(|| format!("the option mark is BAR:OFFSET, like 1:0x20, and not {text}"))
}

/// Returns the type of mdev with a name of the form `PARENT/TYPE`.
fn find(name: &str) -> Result<MdevType> {
    let found = name
        .split_once('/')
        .map(|(parent, kind)| MdevType::find(parent, kind));
    match found {
        Some(Ok(kind)) => Ok(kind),
        _ => bail!(
            "there is no mdev type {name}, but {}. Say --option {MDEV}=PARENT/TYPE, and --module for \
             its driver.",
            types()?.join(", ")
        ),
    }
}

/// Returns all types.
fn types() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for parent in fs::read_dir(mdev::PARENTS).into_iter().flatten() {
        let parent = parent?;
        for kind in fs::read_dir(parent.path().join("mdev_supported_types"))? {
            let name = [parent.file_name(), kind?.file_name()];
            found.push(
                name.map(|part| part.to_string_lossy().into_owned())
                    .join("/"),
            );
        }
    }
    found.sort();
    if found.is_empty() {
        found.push("none".into());
    }
    Ok(found)
}

/// Positions of a 16550's registers in the device file.
#[derive(Clone, Copy)]
pub struct Uart {
    base: u64,
}

impl Uart {
    /// Interrupt enable.
    pub fn ier(&self) -> u64 {
        self.base + 1
    }

    /// Interrupt identification, FIFO control.
    pub fn iir(&self) -> u64 {
        self.base + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed {
            reason: reason.into(),
        }
    }

    fn skipped(reason: &str) -> Outcome {
        Outcome::Skipped {
            reason: reason.into(),
        }
    }

    #[test]
    fn one_device_that_fails_fails_the_test_and_is_named() {
        let outcomes = vec![
            ("a", Outcome::Passed),
            ("b", failed("x")),
            ("c", skipped("y")),
            ("d", failed("z")),
        ];
        assert_eq!(all_of(outcomes), failed("b: x\nd: z"));
    }

    #[test]
    fn one_device_that_is_skipped_is_not_passed_over() {
        let outcomes = vec![("a", Outcome::Passed), ("b", skipped("y"))];
        assert_eq!(all_of(outcomes), skipped("b: y"));
        assert_eq!(all_of(vec![("a", Outcome::Passed)]), Outcome::Passed);
    }

    #[test]
    fn a_mark_is_a_bar_and_an_offset() {
        let mark = parse_mark("1:0x20").unwrap();
        assert_eq!((mark.bar, mark.offset), (1, 32));
        assert_eq!(parse_mark("0:7").unwrap().offset, 7);
        for bad in ["", "1", "6:0", "1:", "1:0x", "-1:0", "a:b"] {
            let error = parse_mark(bad).err().unwrap().to_string();
            assert!(error.contains("like 1:0x20"), "{error}");
        }
    }
}
