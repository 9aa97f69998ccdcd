// SPDX-License-Identifier: GPL-2.0
//! The random numbers of a run, whose seed is an option.

use anyhow::Result;
use mig_common::random::Random;

use crate::scenario::Ctx;

/// The seed, unless the option `seed` overrides it.
const SEED: u64 = 0x6d67_7075;

/// Returns and reports the seed of this run.
pub fn seed(ctx: &mut Ctx) -> Result<u64> {
    let seed = ctx.number("seed", SEED)?;
    ctx.step(format!("seed {seed}"));
    Ok(seed)
}

/// Returns the sequence of this run.
pub fn prepare(ctx: &mut Ctx) -> Result<Random> {
    seed(ctx).map(Random::new)
}
