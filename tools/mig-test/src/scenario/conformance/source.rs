// SPDX-License-Identifier: GPL-2.0
//! Where the device under test comes from: what the options select, or each of this project's
//! drivers.

use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use mgpu_model::uapi::BAR_VRAM;

use super::target::{parse_mark, Mark, Target};
use crate::event::Outcome;
use crate::failure::unusable;
use crate::mdev::MdevType;
use crate::scenario::bed::{load, MGPU_16, ONE_PORT};
use crate::scenario::Ctx;

/// The option with the modules to load first, separated by commas; `--module` sets it.
pub const MODULES: &str = "modules";
/// The option with the type of the device to make.
pub const MDEV: &str = "mdev";
/// The option with an existing device.
pub const DEVICE: &str = "device";
/// The option with the text of an exercise.
pub const EXERCISE: &str = "exercise";

/// A driver whose device the scenarios support.
#[derive(Clone, Copy)]
struct Sample {
    module: &'static str,
    /// Parent and type.
    mdev: [&'static str; 2],
    mark: Mark,
    /// Whether the registers of BAR 0 begin with those of a 16550.
    is_uart: bool,
    /// The description of its work.
    exercise: &'static str,
}

/// The scratch register of a 16550.
const SCRATCH: Mark = Mark {
    bar: 0,
    offset: 7,
    width: 1,
};
const UART: &str = include_str!("../../../../../drivers/mtty_rs/exercise.toml");

/// What is tested unless an option says otherwise.
const OURS: [Sample; 3] = [
    Sample {
        module: "mtty_rs",
        mdev: ["mtty_rs", ONE_PORT],
        mark: SCRATCH,
        is_uart: true,
        exercise: UART,
    },
    Sample {
        module: "mgpu_rs",
        mdev: ["mgpu_rs", MGPU_16],
        mark: Mark {
            bar: BAR_VRAM as u32,
            offset: 0x1234,
            width: 1,
        },
        is_uart: false,
        exercise: include_str!("../../../../../drivers/mgpu_rs/exercise.toml"),
    },
    // The vendor guide's.
    Sample {
        module: "scratch",
        mdev: ["scratch", "scratch-1"],
        mark: Mark {
            bar: 1,
            offset: 0x1234,
            width: 1,
        },
        is_uart: false,
        exercise: include_str!("../../../../../Documentation/examples/scratch/exercise.toml"),
    },
];

/// More examples, which only `conform` takes without being asked: that after QEMU's `edu`, the card
/// with doorbells, and the one with a ring in guest memory.
const EXAMPLES: [Sample; 3] = [
    Sample {
        module: "edu",
        mdev: ["edu", "edu-1"],
        mark: Mark {
            bar: 0,
            offset: 0x80,
            width: 8,
        },
        is_uart: false,
        exercise: include_str!("../../../../../Documentation/examples/edu/exercise.toml"),
    },
    Sample {
        module: "doorbells",
        mdev: ["doorbells", "doorbells-1"],
        mark: Mark {
            bar: 0,
            offset: 0x2000,
            width: 4,
        },
        is_uart: false,
        exercise: include_str!("../../../../../Documentation/examples/doorbells/exercise.toml"),
    },
    Sample {
        module: "digest",
        mdev: ["digest", "digest-1"],
        mark: Mark {
            bar: 0,
            offset: 0x00,
            width: 8,
        },
        is_uart: false,
        exercise: include_str!("../../../../../Documentation/examples/digest/exercise.toml"),
    },
];

/// Mainline's driver, in C.
const MAINLINE: Sample = Sample {
    module: "mtty",
    mdev: ["mtty", ONE_PORT],
    mark: SCRATCH,
    is_uart: true,
    exercise: UART,
};

impl Sample {
    /// Makes a new device.
    fn target(&self) -> Result<Target> {
        load(self.module)?;
        let [parent, kind] = self.mdev;
        let kind = MdevType::find(parent, kind)?;
        let mdev = kind.create()?;
        Ok(Target {
            path: mdev.path().to_owned(),
            is_ours: self.module != MAINLINE.module,
            mark: Some(self.mark),
            is_uart: self.is_uart,
            kind: Some(kind),
            _mdev: Some(mdev),
        })
    }
}

/// The test of one device.
pub type Test = fn(&mut Ctx, Target) -> Result<Outcome>;

/// What the options select: a device of the user's, or samples.
#[derive(Clone)]
pub enum Source {
    /// A new device of a sample.
    Sample(&'static str),
    /// A new device of a type, `PARENT/TYPE`.
    Type(String),
    /// An existing device, by its folder in sysfs.
    Device(PathBuf),
}

impl Source {
    /// Returns its name in reports.
    pub fn name(&self) -> String {
        match self {
            Source::Sample(module) => (*module).into(),
            Source::Type(name) => name.clone(),
            Source::Device(path) => path.display().to_string(),
        }
    }

    /// Returns the description of its work, if it is a sample.
    pub fn exercise(&self) -> Option<&'static str> {
        match self {
            Source::Sample(module) => sample(module).map(|sample| sample.exercise),
            _ => None,
        }
    }

    /// Makes the device, or finds it.
    pub fn target(&self, ctx: &Ctx) -> Result<Target> {
        let mark = ctx
            .options
            .get("mark")
            .map(|text| parse_mark(text))
            .transpose()?;
        match self {
            Source::Sample(module) => sample(module).context("no such sample")?.target(),
            Source::Type(name) => {
                let kind = MdevType::named(name)?;
                let mdev = kind.create()?;
                Ok(Target {
                    path: mdev.path().to_owned(),
                    is_ours: false,
                    mark,
                    is_uart: false,
                    kind: Some(kind),
                    _mdev: Some(mdev),
                })
            }
            Source::Device(path) => Ok(Target {
                path: path.clone(),
                is_ours: false,
                mark,
                is_uart: false,
                kind: None,
                _mdev: None,
            }),
        }
    }
}

fn samples() -> impl Iterator<Item = &'static Sample> {
    OURS.iter().chain(&EXAMPLES).chain([&MAINLINE])
}

fn sample(module: &str) -> Option<&'static Sample> {
    samples().find(|sample| sample.module == module)
}

/// Loads the modules that the options name, and returns the device that they select, or else each
/// of this project's drivers.
pub fn sources(ctx: &Ctx) -> Result<Vec<Source>> {
    chosen_or(ctx, &OURS)
}

/// Returns the same, with the examples among this project's drivers.
pub fn all_sources(ctx: &Ctx) -> Result<Vec<Source>> {
    chosen_or(ctx, &[&OURS[..], &EXAMPLES].concat())
}

fn chosen_or(ctx: &Ctx, samples: &[Sample]) -> Result<Vec<Source>> {
    load("vfio_iommu_type1")?;
    let modules = ctx.options.get(MODULES).map_or("", String::as_str);
    load_brought(modules.split(',').filter(|name| !name.is_empty()))?;
    let all = samples.iter().map(|sample| Source::Sample(sample.module));
    Ok(match chosen(ctx)? {
        Some(one) => vec![one],
        None => all.collect(),
    })
}

/// Loads modules of the user's.
pub fn load_brought<'m>(modules: impl IntoIterator<Item = &'m str>) -> Result<()> {
    for module in modules {
        load(module).with_context(|| {
            format!("{module} does not load; the kernel says why in target/lab/vm-1/console.log")
        })?;
    }
    Ok(())
}

/// Returns the device that the options select.
fn chosen(ctx: &Ctx) -> Result<Option<Source>> {
    let chosen = [DEVICE, MDEV, "driver"].map(|name| ctx.options.get(name));
    Ok(match chosen {
        [None, None, None] => {
            ensure!(
                !ctx.options.contains_key("mark"),
                "the option mark is for a device that the option {DEVICE} or {MDEV} names"
            );
            None
        }
        [Some(path), None, None] => {
            let path = PathBuf::from(path);
            if !path.exists() {
                unusable!(
                    "there is no device {}. Name its folder in sysfs.",
                    path.display()
                );
            }
            Some(Source::Device(path))
        }
        [None, Some(name), None] => {
            MdevType::named(name)?;
            Some(Source::Type(name.clone()))
        }
        [None, None, Some(name)] => {
            let sample = sample(name).with_context(|| {
                let names: Vec<&str> = samples().map(|sample| sample.module).collect();
                format!(
                    "there is no driver {name} here; use one of {}, or bring your own with \
                     --module PATH --option {MDEV}=PARENT/TYPE",
                    names.join(", ")
                )
            })?;
            Some(Source::Sample(sample.module))
        }
        _ => bail!("give one of the options {DEVICE}, {MDEV} and driver"),
    })
}

/// Tests the device that the options select, or else a new one of each of this project's drivers.
pub fn on_each(ctx: &mut Ctx, test: Test) -> Result<Outcome> {
    let mut outcomes = Vec::new();
    for source in sources(ctx)? {
        ctx.step(format!("testing {}", source.name()));
        if !matches!(source, Source::Sample(_)) && !ctx.options.contains_key("mark") {
            ctx.step("no option mark=BAR:OFFSET: what a load changes is not looked at");
        }
        let outcome = source.target(ctx).and_then(|target| test(ctx, target));
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed {
            reason: format!("{error:#}"),
        });
        outcomes.push((source.name(), outcome));
    }
    Ok(match <[_; 1]>::try_from(outcomes) {
        Ok([(_, only)]) => only,
        Err(several) => all_of(several),
    })
}

/// Returns failed if one has failed, with the reason of each; skipped if one was skipped.
fn all_of(outcomes: Vec<(String, Outcome)>) -> Outcome {
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
        let outcomes = [
            ("a", Outcome::Passed),
            ("b", failed("x")),
            ("c", skipped("y")),
            ("d", failed("z")),
        ];
        let outcomes = outcomes.map(|(name, outcome)| (name.to_owned(), outcome));
        assert_eq!(all_of(outcomes.into()), failed("b: x\nd: z"));
    }

    #[test]
    fn one_device_that_is_skipped_is_not_passed_over() {
        let passed = || ("a".to_owned(), Outcome::Passed);
        let outcomes = vec![passed(), ("b".to_owned(), skipped("y"))];
        assert_eq!(all_of(outcomes), skipped("b: y"));
        assert_eq!(all_of(vec![passed()]), Outcome::Passed);
    }
}
