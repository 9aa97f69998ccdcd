// SPDX-License-Identifier: GPL-2.0
//! The trees of modules that are built against the project's: drivers of the examples and of tests.

/// Modules in a tree of their own, built against the project's modules.
#[derive(Clone, Copy, PartialEq)]
pub struct Apart<'a> {
    /// The text of the progress report.
    pub what: &'a str,
    /// The folder of their source, relative to the project's.
    pub source: &'a str,
    /// The folder that they are built in.
    pub folder: &'a str,
}

/// The driver that the vendor guide quotes.
pub const GUIDE: Apart<'_> = Apart {
    what: "building the vendor guide's driver",
    source: "Documentation/examples/scratch",
    folder: "kmod-guide",
};

/// The example after QEMU's `edu`.
pub const EDU: Apart<'_> = Apart {
    what: "building the example edu",
    source: "Documentation/examples/edu",
    folder: "kmod-edu",
};

/// The example with doorbells in a part of a BAR.
pub const DOORBELLS: Apart<'_> = Apart {
    what: "building the example doorbells",
    source: "Documentation/examples/doorbells",
    folder: "kmod-doorbells",
};

/// The example with a ring in guest memory.
pub const DIGEST: Apart<'_> = Apart {
    what: "building the example digest",
    source: "Documentation/examples/digest",
    folder: "kmod-digest",
};

/// The driver that `mig-test new` copies.
pub const SKELETON: Apart<'_> = Apart {
    what: "building the example skeleton",
    source: "Documentation/examples/skeleton",
    folder: "kmod-skeleton",
};

/// The modules for tests and benchmarks: a card whose registers are the calls of `GuestMemory`, and
/// one that pins, with the SDK and without it.
pub const TESTS: Apart<'_> = Apart {
    what: "building the tests' own modules",
    source: "tools/mig-test/kmod",
    folder: "kmod-tests",
};

/// The drivers in Documentation/examples.
pub const EXAMPLES: [Apart<'_>; 5] = [GUIDE, EDU, DOORBELLS, DIGEST, SKELETON];

/// This project's own that scenarios load.
pub const OURS: [Apart<'_>; 5] = [TESTS, GUIDE, EDU, DOORBELLS, DIGEST];
