// SPDX-License-Identifier: GPL-2.0
//! The kinds of entries in the table of scenarios.

use std::time::Duration;

use anyhow::Result;

use super::{Ctx, Scenario};
use crate::event::Outcome;
use crate::lab::apart::Apart;
use crate::lab::Hardware;

/// The code of a scenario.
pub type Run = fn(&mut Ctx) -> Result<Outcome>;

/// Creates a scenario for the usual VM, which the lab aborts after a number of silent minutes.
pub const fn plain(name: &'static str, about: &'static str, minutes: u64, run: Run) -> Scenario {
    Scenario {
        name,
        about,
        deadline: Duration::from_secs(60 * minutes),
        races: false,
        hardware: Hardware::Usual,
        migrates: false,
        only_with_all: false,
        modules: &[],
        run,
    }
}

impl Scenario {
    /// Creates the same for a VM with this hardware.
    pub const fn with(self, hardware: Hardware) -> Self {
        Scenario { hardware, ..self }
    }

    /// Creates the same with separate modules.
    pub const fn loading(self, modules: &'static [Apart<'static>]) -> Self {
        Scenario { modules, ..self }
    }

    /// Creates the same, for `mig-test test --all` alone.
    pub const fn only_with_all(self) -> Self {
        Scenario {
            only_with_all: true,
            ..self
        }
    }
}

/// Creates one that races threads, for a VM with cards.
pub const fn races(name: &'static str, about: &'static str, minutes: u64, run: Run) -> Scenario {
    Scenario {
        races: true,
        hardware: Hardware::Cards,
        ..plain(name, about, minutes, run)
    }
}

/// Creates one that migrates guests.
pub const fn migrates(name: &'static str, about: &'static str, minutes: u64, run: Run) -> Scenario {
    Scenario {
        migrates: true,
        ..plain(name, about, minutes, run)
    }
}

/// Returns two tables as one, of so many scenarios together.
pub const fn joined<const N: usize>(first: &[Scenario], second: &[Scenario]) -> [Scenario; N] {
    assert!(first.len() + second.len() == N);
    let mut all = [first[0]; N];
    let mut index = 0;
    while index < N {
        all[index] = match index.checked_sub(first.len()) {
            None => first[index],
            Some(index) => second[index],
        };
        index += 1;
    }
    all
}
