// SPDX-License-Identifier: GPL-2.0
//! Parameters of every kernel here, the lab VM's and its guests'.

/// Debian's kernels look every 5 ms at which memory was accessed (`CONFIG_DAMON_STAT`), which takes
/// away accessed bits of page tables and then flushes the translation of them. A processor that is
/// itself translated, and has little of one, does nothing else then: a guest that booted so on a
/// busy machine was seen to say "soft lockup - CPU#0 stuck for 44s! \[kdamond.0\]".
pub const WATCH_NO_MEMORY: &str = "damon_stat.enabled=n";
