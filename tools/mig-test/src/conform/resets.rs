// SPDX-License-Identifier: GPL-2.0
//! Resets a device in the middle of its works.

use anyhow::Result;

use super::moves::undisturbed;
use super::play::Player;
use super::snapshot::{Part, Snapshot};
use super::suite::Suite;
use crate::vfio::migration::State;

/// Resets the device at each step of each work, in each state; it must be as new and work.
pub fn reset(suite: &mut Suite<'_>) -> Result<()> {
    let rig = suite.open()?;
    rig.reset()?;
    let fresh = Snapshot::take(&rig, &suite.readable)?;
    let states: Vec<State> = State::TARGETS
        .into_iter()
        .filter(|state| suite.has(*state))
        .collect();
    for (work, interrupt) in suite.works() {
        let name = &work.name;
        suite.told(&format!("{name}, reset"));
        let alone = match undisturbed(suite, &rig, &work, interrupt)? {
            Ok(alone) => alone,
            Err(fault) => {
                // It has run before; what came between are resets.
                let shows = format!("{name}: after a reset: {}", fault.shows);
                suite.report.fail("reset.runs", shows);
                if suite.is_enough() {
                    return Ok(());
                }
                continue;
            }
        };
        for step in 1..=work.steps.len() {
            let state = states[step % states.len()];
            rig.reset()?;
            let mut player = Player::begin(suite.exercise, &work, &rig, interrupt)?;
            player.play(&rig, step)?;
            let set = rig.set_state(state);
            let file = set.as_ref().ok().and_then(Option::as_ref);
            if let (Some(file), true) = (file, state != State::Resuming) {
                file.read(&mut [0; 100]).ok();
            }
            let when = format!(
                "{name}: reset in {state:?} after step {step}, {}",
                work.steps[step - 1]
            );
            rig.listen(None)?;
            rig.reset()?;
            let parts = [Part::Registers, Part::DeviceMemory];
            let now = Snapshot::take(&rig, &suite.readable)?;
            if let Some(what) = fresh.differs_in(&now, &parts) {
                suite.report.fail("reset.fresh", format!("{when}: {what}"));
            }
            if rig.device.state() != Ok(State::Running) {
                let state = rig.device.state();
                suite
                    .report
                    .fail("reset.runs", format!("{when}: the state is {state:?}"));
            }
            let mut player = Player::begin(suite.exercise, &work, &rig, interrupt)?;
            match player.play(&rig, usize::MAX)? {
                Some(fault) => {
                    suite
                        .report
                        .fail("reset.runs", format!("{when}: {}", fault.shows));
                    rig.listen(None)?;
                }
                None => {
                    let outcome = player.end(&rig, &suite.readable)?;
                    if let Some(what) = alone.snapshot.differs_in(&outcome.snapshot, &Part::ALL) {
                        suite
                            .report
                            .fail("reset.runs", format!("{when}: at the end {what}"));
                    }
                }
            }
            if suite.is_enough() {
                return Ok(());
            }
        }
    }
    for rule in ["reset.runs", "reset.fresh"] {
        suite.passed(rule);
    }
    Ok(())
}
