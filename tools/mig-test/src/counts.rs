// SPDX-License-Identifier: GPL-2.0
//! Counts of test results.

use std::fmt;
use std::ops::AddAssign;

/// Counts of test results.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Could not run here.
    pub skipped: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Counts {
    /// One test that passed.
    pub const PASSED: Counts = Counts {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One test that failed.
    pub const FAILED: Counts = Counts {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// One test that was skipped.
    pub const SKIPPED: Counts = Counts {
        passed: 0,
        failed: 0,
        skipped: 1,
    };
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_names_what_was_skipped_only_if_something_was() {
        let counts = Counts {
            passed: 7,
            failed: 0,
            skipped: 0,
        };
        assert_eq!(counts.to_string(), "7 passed, 0 failed");
        assert_eq!(
            Counts {
                skipped: 2,
                ..counts
            }
            .to_string(),
            "7 passed, 0 failed, 2 skipped"
        );
    }
}
