// SPDX-License-Identifier: GPL-2.0
//! Parameters of all kernels: the lab VM's and its guests'.

/// Switches off the sampling of memory accesses. Debian's kernels sample every 5 ms
/// (`CONFIG_DAMON_STAT`), which clears accessed bits of page tables and then flushes their
/// translation. With TCG on a busy machine this takes all of a processor's time: a guest that
/// booted so reported "soft lockup - CPU#0 stuck for 44s! \[kdamond.0\]".
pub const WATCH_NO_MEMORY: &str = "damon_stat.enabled=n";
