// SPDX-License-Identifier: GPL-2.0
//! What `mig-test test` runs, and where.

use crate::commands::is_bench;
use crate::qemu::version::Qemu;
use crate::scenario::{self, Scenario};

/// The QEMUs that `mig-test test` migrates guests under. 7.2 belongs here once devices have the
/// migration region, which is all that it knows of.
pub const USUAL: &[Qemu] = &[Qemu::V10_0];
/// The same for `mig-test test --all`.
pub const ALL: &[Qemu] = &[Qemu::V10_0, Qemu::V11_1];

/// Scenarios for one kind of lab VM.
pub struct Batch {
    /// What runs guests there.
    pub qemu: Qemu,
    /// The scenarios, in the order to run them.
    pub scenarios: Vec<&'static Scenario>,
}

impl Batch {
    /// The names of the scenarios.
    pub fn names(&self) -> Vec<String> {
        let names = self.scenarios.iter().map(|scenario| scenario.name);
        names.map(String::from).collect()
    }

    /// The name under which a scenario of this batch is reported.
    pub fn label(&self, name: &str) -> String {
        match scenario::find(name) {
            Some(scenario) if scenario.migrates => {
                format!("{name} [qemu {}]", self.qemu.series())
            }
            _ => name.to_string(),
        }
    }
}

/// What to run for these QEMUs: everything under the lab's own, and under others what migrates guests.
pub fn batches(qemus: &[Qemu]) -> Vec<Batch> {
    let batch = |&qemu: &Qemu| {
        let all = scenario::all()
            .iter()
            .filter(|scenario| !is_bench(scenario.name));
        let mine = all.filter(|scenario| scenario.migrates || qemu == Qemu::default());
        Batch {
            qemu,
            scenarios: mine.collect(),
        }
    };
    qemus.iter().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_runs_under_the_labs_own_qemu_and_only_migrations_under_another() {
        let [own, other] = batches(&[Qemu::V10_0, Qemu::V7_2]).try_into().ok().unwrap();
        let all = scenario::all().iter();
        let benches = all.filter(|scenario| is_bench(scenario.name)).count();
        assert_eq!(own.scenarios.len() + benches, scenario::all().len());
        assert!(other.scenarios.iter().all(|scenario| scenario.migrates));
        assert!(other.names().contains(&"demo".to_string()));
    }

    #[test]
    fn a_scenario_that_runs_under_several_qemus_is_reported_with_which() {
        let batch = &batches(&[Qemu::V10_0])[0];
        assert_eq!(batch.label("demo"), "demo [qemu 10.0]");
        assert_eq!(batch.label("sysfs-limits"), "sysfs-limits");
    }
}
