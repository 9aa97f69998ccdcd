// SPDX-License-Identifier: GPL-2.0
//! RLIMIT_MEMLOCK: the kernel counts pinned pages of a user without CAP_IPC_LOCK against it.

use std::thread;

use anyhow::{anyhow, Result};
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use rustix::thread::{capabilities, set_capabilities, CapabilitySet};

use super::card::{iova, Card, Kind, PAGES};
use crate::health::pinned;
use crate::scenario::conformance::checks::Checks;
use crate::vfio::device::Device;
use crate::vfio::dma::PAGE;

/// Pages that the limit allows: so many that the kernel has pinned some before it meets the limit.
const ALLOWED: usize = 600;

/// This process's limit, put back when dropped.
struct Limit(Rlimit);

impl Limit {
    fn set(pages: usize) -> Result<Limit> {
        let old = getrlimit(Resource::Memlock);
        setrlimit(
            Resource::Memlock,
            Rlimit {
                current: Some((pages * PAGE) as u64),
                ..old
            },
        )?;
        Ok(Limit(old))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It was allowed before; there is nobody to tell otherwise.
        let _ = setrlimit(Resource::Memlock, self.0);
    }
}

/// Pins more than a limit allows, in a thread that is not privileged.
pub fn run(checks: &mut Checks) -> Result<()> {
    let _limit = Limit::set(ALLOWED)?;
    let run = || unprivileged(checks);
    thread::scope(|scope| scope.spawn(run).join()).map_err(|_| anyhow!("the thread panicked"))?
}

fn unprivileged(checks: &mut Checks) -> Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets)?;
    // The container asks who maps, not who pins.
    let card = Card::new(Device::open, PAGES)?;
    let nothing = pinned()?;
    let channel = card.channel(0);
    for kind in Kind::ALL {
        let what = format!("{kind:?} pin");
        let answer = channel.pin(kind, iova(0), (ALLOWED + 1) * PAGE);
        checks.refused(format!("{what} above the limit"), answer, Errno::NOMEM);
        checks.equal(format!("{what}: pages left"), pinned()?, nothing);
        let answer = channel.pin(kind, iova(0), ALLOWED * PAGE);
        checks.equal(format!("{what} at the limit"), answer, Ok(()));
        let more = card.channel(1).pin(kind, iova(ALLOWED * PAGE), 1);
        checks.refused(format!("{what} of one page more"), more, Errno::NOMEM);
        let same = card.channel(1).pin(kind, iova(0), 1);
        checks.equal(format!("{what} of a page that is pinned"), same, Ok(()));
        card.channel(1).unpin()?;
        channel.unpin()?;
        checks.equal(format!("{what}: pages left"), pinned()?, nothing);
    }
    Ok(())
}
