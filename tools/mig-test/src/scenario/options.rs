// SPDX-License-Identifier: GPL-2.0
//! The options of scenarios, by name. An unknown option is refused, so that a typing error is not
//! mistaken for the default.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Scenario;
use crate::failure::unusable;

/// The options that select the device to test, and the seed of random numbers.
const TARGET_AND_SEED: &[&str] = &["device", "driver", "mark", "mdev", "seed"];

/// The options by scenario. A name with a dash at the end stands for all scenarios with that
/// prefix. The first match counts.
const OPTIONS: &[(&str, &[&str])] = &[
    ("mgpu-random", &["seed", "workloads"]),
    ("mgpu-guest-random", &["seed", "workloads"]),
    ("mgpu-guest-ping-pong", &["seed"]),
    ("mgpu-guest-iommu", &["seed"]),
    ("mgpu-commands", &["seed"]),
    ("mgpu-rings", &["seed", "moves"]),
    ("mgpu-migrate", &["seed"]),
    ("mgpu-dirty", &["seed"]),
    ("mgpu-log", &["seed"]),
    ("mgpu-unmap", &["seed"]),
    ("mgpu-late-memory", &["seed"]),
    ("guest-memory", &["seed"]),
    ("killed-", &["seed", "kills"]),
    ("intx-in-flight", &["driver", "moves"]),
    (
        "conform",
        &[
            "device", "driver", "exercise", "mark", "mdev", "rules", "seed", "full",
        ],
    ),
    ("conform-mutants", &["mutant"]),
    ("own-device", &["moves"]),
    ("conformance-concurrency", TARGET_AND_SEED),
    ("conformance-v1-registers", TARGET_AND_SEED),
    ("conformance-v1-races", TARGET_AND_SEED),
    ("conformance-v1-crossing", &[]),
    ("conformance-", &["device", "driver", "mark", "mdev"]),
];

impl Scenario {
    /// Returns the names of its options.
    pub fn options(&self) -> &'static [&'static str] {
        let fits = |who: &str| match who.ends_with('-') {
            true => self.name.starts_with(who),
            false => self.name == who,
        };
        let found = OPTIONS.iter().find(|(who, _)| fits(who));
        found.map_or(&[], |(_, options)| options)
    }
}

/// Checks that each option belongs to one of the scenarios.
pub fn check(scenarios: &[&Scenario], options: &BTreeMap<String, String>) -> Result<()> {
    let known = |name: &str| scenarios.iter().any(|one| one.options().contains(&name));
    let Some(unknown) = options.keys().find(|name| !known(name)) else {
        return Ok(());
    };
    let has = |one: &&Scenario| match one.options() {
        [] => format!("{} has none", one.name),
        names => format!("{} has {}", one.name, names.join(", ")),
    };
    match scenarios {
        [one] => unusable!(
            "there is no option {unknown} for {}; {}",
            one.name,
            has(one).replacen(one.name, "it", 1)
        ),
        several => {
            let all: Vec<String> = several.iter().map(has).collect();
            unusable!("none of them has an option {unknown}: {}", all.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{find, ALL};

    fn refusal(names: &[&str], option: &str) -> Option<String> {
        let scenarios: Vec<_> = names.iter().map(|name| find(name).unwrap()).collect();
        let options = BTreeMap::from([(option.to_owned(), "1".to_owned())]);
        check(&scenarios, &options).err().map(|e| e.to_string())
    }

    #[test]
    fn an_option_that_a_scenario_has_is_taken() {
        assert_eq!(refusal(&["mgpu-guest-random"], "workloads"), None);
        assert_eq!(refusal(&["demo", "mgpu-guest-random"], "workloads"), None);
        assert_eq!(refusal(&["conformance-v1-races"], "seed"), None);
        assert!(refusal(&["mgpu-unmap-dirty"], "seed").is_some());
    }

    #[test]
    fn an_option_that_nobody_has_is_refused_with_those_there_are() {
        assert_eq!(
            refusal(&["mgpu-guest-random"], "workload").unwrap(),
            "there is no option workload for mgpu-guest-random; it has seed, workloads"
        );
        assert_eq!(
            refusal(&["demo"], "seed").unwrap(),
            "there is no option seed for demo; it has none"
        );
        assert_eq!(
            refusal(&["demo", "conformance-data"], "seed").unwrap(),
            "none of them has an option seed: demo has none; conformance-data has device, \
             driver, mark, mdev"
        );
    }

    #[test]
    fn whoever_has_options_is_a_scenario() {
        for (who, options) in OPTIONS {
            let mut found = ALL.iter().filter(|one| one.name.starts_with(who));
            assert!(found.any(|one| one.options() == *options), "{who}");
        }
    }
}
