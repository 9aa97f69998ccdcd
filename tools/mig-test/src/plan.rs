// SPDX-License-Identifier: GPL-2.0
//! The scenarios of `mig-test test`, with their kernels and QEMUs.

use crate::commands::is_bench;
use crate::lab::{Choice, Kernel, Platform};
use crate::qemu::version::Qemu;
use crate::scenario::{self, Scenario};

/// The platforms of `mig-test test`. `mig-test test --qemu 7.2` runs the scenarios that migrate
/// guests on that one.
pub const USUAL: &[Choice] = &[OWN, V1];
/// The same for `mig-test test --all`.
pub const ALL: &[Choice] = &[OWN, V1, LATEST, DEBUG];
/// The kernels that the modules are built for without a warning, if the mirror has them.
pub const BUILT_FOR: [Choice; 2] = [
    Choice::kernel(Kernel::STOCK[0]),
    Choice::kernel(Kernel::STOCK[1]),
];

const OWN: Choice = Choice {
    kernel: None,
    qemu: Qemu::V10_0,
};

/// The QEMU that supports only the migration region.
const V1: Choice = Choice {
    kernel: None,
    qemu: Qemu::V7_2,
};

/// The newest QEMU.
const LATEST: Choice = Choice {
    kernel: None,
    qemu: Qemu::V11_1,
};

/// The kernel with runtime checks, which offers the devices' DMA logs.
const DEBUG: Choice = Choice::kernel(Kernel::Debug);

/// Scenarios for one kind of lab VM.
pub struct Batch {
    /// Its kernel and QEMU.
    pub platform: Platform,
    /// The name of its kernel in reports, if that is not the default one.
    kernel: Option<String>,
    /// The scenarios, in the order to run them.
    pub scenarios: Vec<&'static Scenario>,
}

impl Batch {
    /// The names of the scenarios.
    pub fn names(&self) -> Vec<String> {
        let names = self.scenarios.iter().map(|scenario| scenario.name);
        names.map(String::from).collect()
    }

    /// Returns the name of a scenario of this batch in reports.
    pub fn label(&self, name: &str) -> String {
        let mut places = Vec::new();
        if scenario::find(name).is_some_and(|scenario| scenario.migrates) {
            places.push(format!("qemu {}", self.platform.qemu.series()));
        }
        places.extend(self.kernel.clone());
        match places.as_slice() {
            [] => name.into(),
            _ => format!("{name} [{}]", places.join(", ")),
        }
    }
}

/// Returns what to run on each platform: everything under the lab's own QEMU, and the scenarios
/// that migrate guests under others. Some run only with `all`.
pub fn batches(choices: &[Choice], all: bool, default: Kernel) -> Vec<Batch> {
    let batch = |choice: &Choice| {
        let platform = choice.platform(default);
        let is_mine = |scenario: &&Scenario| {
            !is_bench(scenario.name)
                && (scenario.migrates || platform.qemu == Qemu::default())
                && (all || !scenario.only_with_all)
        };
        Batch {
            platform,
            kernel: (platform.kernel != default).then(|| platform.kernel.label()),
            scenarios: scenario::ALL.iter().filter(is_mine).collect(),
        }
    };
    choices.iter().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_runs_under_the_labs_own_qemu_and_only_migrations_under_another() {
        let all = scenario::ALL.iter();
        let benches = all.filter(|scenario| is_bench(scenario.name)).count();
        let rest = benches + scenario::ALL.iter().filter(|one| one.only_with_all).count();
        for batch in batches(&[OWN, DEBUG], false, Kernel::V7_3) {
            assert_eq!(batch.scenarios.len() + rest, scenario::ALL.len());
        }
        let other = &batches(&[V1], false, Kernel::V7_3)[0];
        assert!(other.scenarios.iter().all(|scenario| scenario.migrates));
        assert!(other.names().contains(&"demo".to_string()));
    }

    #[test]
    fn what_takes_long_runs_only_with_all() {
        for all in [true, false] {
            for batch in batches(ALL, all, Kernel::V7_3) {
                assert_eq!(batch.scenarios.iter().any(|one| one.only_with_all), all);
            }
        }
    }

    #[test]
    fn a_scenario_is_reported_with_what_it_ran_on_unless_that_is_the_usual() {
        let labels = |choice| {
            let batch = &batches(&[choice], false, Kernel::V7_3)[0];
            ["demo", "sysfs-limits"].map(|name| batch.label(name))
        };
        assert_eq!(labels(OWN), ["demo [qemu 10.0]", "sysfs-limits"]);
        assert_eq!(
            labels(DEBUG),
            [
                "demo [qemu 10.0, debug kernel]",
                "sysfs-limits [debug kernel]"
            ]
        );
        // The default kernel is not named, whether the command line names it or not.
        assert_eq!(labels(Choice::kernel(Kernel::V7_3)), labels(OWN));
        assert_eq!(
            labels(Choice::kernel(Kernel::V7_2)),
            ["demo [qemu 10.0, kernel 7.2]", "sysfs-limits [kernel 7.2]"]
        );
    }
}
