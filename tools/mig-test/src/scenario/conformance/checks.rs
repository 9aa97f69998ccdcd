// SPDX-License-Identifier: GPL-2.0
//! A list of checks that continues after a failed one, so that one run reports all failures.

use std::fmt::{Debug, Display};

use crate::event::Outcome;

/// The number of failures that are listed in the outcome; more are counted.
const NAMED: usize = 12;
/// The number of characters shown of each, because values may be long.
const SHOWN: usize = 300;

/// Checks made so far.
#[derive(Default)]
pub struct Checks {
    made: usize,
    failures: Vec<String>,
}

impl Checks {
    /// Requires a value.
    pub fn equal<T: PartialEq + Debug>(&mut self, what: impl Display, found: T, wanted: T) {
        let holds = found == wanted;
        self.that(
            format_args!("{what}: {found:?} instead of {wanted:?}"),
            holds,
        );
    }

    /// Requires that a call fails with an error.
    pub fn refused<T, E: PartialEq + Debug>(
        &mut self,
        what: impl Display,
        found: Result<T, E>,
        wanted: E,
    ) {
        self.equal(what, found.map(drop), Err(wanted));
    }

    /// Requires a condition. `what` names it, or says what was found instead.
    pub fn that(&mut self, what: impl Display, holds: bool) {
        self.made += 1;
        if !holds {
            let what = what.to_string();
            self.failures.push(match what.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{} ...", &what[..end]),
                None => what,
            });
        }
    }

    /// Returns the number of checks so far.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Returns passed if there were checks and all of them hold.
    pub fn outcome(self) -> Outcome {
        if self.made == 0 {
            return Outcome::Failed {
                reason: "no check was made".into(),
            };
        }
        if self.failures.is_empty() {
            return Outcome::Passed;
        }
        let named = &self.failures[..self.failures.len().min(NAMED)];
        let more = match self.failures.len() - named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let count = format!("{} of {} checks fail", self.failures.len(), self.made);
        Outcome::Failed {
            reason: format!("{count}: {}{more}", named.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_all_hold_pass() {
        let mut checks = Checks::default();
        checks.equal("one", 1, 1);
        checks.refused("two", Err::<(), _>(22), 22);
        assert_eq!(checks.outcome(), Outcome::Passed);
    }

    #[test]
    fn without_a_check_nothing_passes() {
        let reason = "no check was made".into();
        assert_eq!(Checks::default().outcome(), Outcome::Failed { reason });
    }

    #[test]
    fn every_failed_check_is_named_or_counted() {
        let mut checks = Checks::default();
        (0..NAMED + 2).for_each(|number| checks.equal(number, false, true));
        let Outcome::Failed { reason } = checks.outcome() else {
            panic!("passed")
        };
        assert!(reason.starts_with("14 of 14 checks fail: 0: false instead of true; 1: "));
        assert!(reason.ends_with("; and 2 more"), "{reason}");
    }

    #[test]
    fn a_long_value_is_cut() {
        let mut checks = Checks::default();
        checks.equal("bytes", vec![0; 10_000], vec![1; 10_000]);
        let Outcome::Failed { reason } = checks.outcome() else {
            panic!("passed")
        };
        assert!(reason.starts_with("1 of 1 checks fail: bytes: [0, 0, "));
        assert!(reason.ends_with(" ...") && reason.len() < 400, "{reason}");
    }

    #[test]
    fn a_call_that_succeeds_is_not_refused() {
        let mut checks = Checks::default();
        checks.refused("call", Ok::<(), _>(()), 22);
        assert_ne!(checks.outcome(), Outcome::Passed);
    }
}
