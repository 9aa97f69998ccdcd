// SPDX-License-Identifier: GPL-2.0
//! The legal state changes and their effect on the data file, derived from the direct arcs that
//! <linux/vfio.h> lists and its rules for combining them. Independent of the SDK's own table.

use std::collections::{BTreeSet, VecDeque};

use vfio_bindings::bindings::vfio::{
    VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY, VFIO_MIGRATION_STOP_COPY,
};

use crate::vfio::migration::State::{
    self, PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy,
};

/// The effect of a direct arc on the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// There is none.
    None,
    /// A new one is returned.
    New,
    /// It continues.
    Kept,
    /// It becomes unusable.
    Ended,
}

/// The condition for an arc: without P2P states, with them, or in both cases.
#[derive(Clone, Copy, PartialEq)]
enum P2p {
    Without,
    With,
    Either,
}

const ARCS: [(State, State, P2p, File); 18] = [
    (Running, Stop, P2p::Without, File::None),
    (Stop, Running, P2p::Without, File::None),
    (Running, RunningP2p, P2p::With, File::None),
    (RunningP2p, Running, P2p::With, File::None),
    (RunningP2p, Stop, P2p::With, File::None),
    (Stop, RunningP2p, P2p::With, File::None),
    (Stop, StopCopy, P2p::Either, File::New),
    (StopCopy, Stop, P2p::Either, File::Ended),
    (Stop, Resuming, P2p::Either, File::New),
    (Resuming, Stop, P2p::Either, File::Ended),
    (Running, PreCopy, P2p::Either, File::New),
    (PreCopy, Running, P2p::Either, File::Ended),
    (PreCopy, StopCopy, P2p::Without, File::Kept),
    (PreCopy, PreCopyP2p, P2p::With, File::Kept),
    (PreCopyP2p, PreCopy, P2p::With, File::Kept),
    (RunningP2p, PreCopyP2p, P2p::With, File::New),
    (PreCopyP2p, RunningP2p, P2p::With, File::Ended),
    (PreCopyP2p, StopCopy, P2p::With, File::Kept),
];

/// The legal state changes of a device with certain VFIO_MIGRATION_* flags.
pub struct Oracle {
    flags: u64,
}

impl Oracle {
    /// For a device with `flags`.
    pub fn new(flags: u64) -> Oracle {
        Oracle { flags }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }

    /// Whether the device has a state at all.
    pub fn supports(&self, state: State) -> bool {
        let (p2p, pre_copy) = (
            self.has(VFIO_MIGRATION_P2P),
            self.has(VFIO_MIGRATION_PRE_COPY),
        );
        self.has(VFIO_MIGRATION_STOP_COPY)
            && match state {
                RunningP2p => p2p,
                PreCopy => pre_copy,
                PreCopyP2p => p2p && pre_copy,
                State::Error => false,
                Stop | Running | StopCopy | Resuming => true,
            }
    }

    /// Returns the states that the device has.
    pub fn states(&self) -> impl Iterator<Item = State> + '_ {
        State::TARGETS
            .into_iter()
            .filter(|state| self.supports(*state))
    }

    /// Returns the names of all direct arcs.
    pub fn names(&self) -> BTreeSet<String> {
        self.direct().map(|(from, to)| arc(from, to)).collect()
    }

    /// Returns all direct arcs.
    pub fn direct(&self) -> impl Iterator<Item = (State, State)> + '_ {
        let arcs_of = |from| self.arcs(from).map(move |(to, _)| (from, to));
        State::TARGETS.into_iter().flat_map(arcs_of)
    }

    fn arcs(&self, from: State) -> impl Iterator<Item = (State, File)> + '_ {
        let p2p = if self.has(VFIO_MIGRATION_P2P) {
            P2p::With
        } else {
            P2p::Without
        };
        ARCS.iter()
            .filter(move |(a, b, when, _)| {
                let exists = *when == P2p::Either || *when == p2p;
                exists && *a == from && self.supports(*a) && self.supports(*b)
            })
            .map(|(_, to, _, file)| (*to, *file))
    }

    /// Returns the shortest legal path: for each arc the state it leads to and its effect on the
    /// file; `None` if there is no legal path. A path between two saving states stays among them;
    /// no other path passes through a state with a data file.
    pub fn way(&self, from: State, to: State) -> Option<Vec<(State, File)>> {
        if !self.supports(from) || !self.supports(to) {
            return None;
        }
        let saving = |state| matches!(state, PreCopy | PreCopyP2p | StopCopy);
        let within = saving(from) && saving(to);
        let passable = |state| {
            if within {
                saving(state)
            } else {
                !has_file(state)
            }
        };
        let mut queue = VecDeque::from([(from, Vec::new())]);
        let mut seen = vec![from];
        while let Some((state, way)) = queue.pop_front() {
            if state == to {
                return Some(way);
            }
            for (next, file) in self.arcs(state) {
                if (next == to || passable(next)) && !seen.contains(&next) {
                    seen.push(next);
                    let mut longer = way.clone();
                    longer.push((next, file));
                    queue.push_back((next, longer));
                }
            }
        }
        None
    }
}

/// Returns the name of an arc.
pub fn arc(from: State, to: State) -> String {
    format!("{from:?} to {to:?}")
}

/// Returns whether a state has a data file.
pub fn has_file(state: State) -> bool {
    matches!(state, PreCopy | PreCopyP2p | StopCopy | Resuming)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 =
        (VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY) as u64;

    fn states(from: State, to: State) -> Option<Vec<State>> {
        let way = Oracle::new(ALL).way(from, to)?;
        Some(way.into_iter().map(|(state, _)| state).collect())
    }

    #[test]
    fn a_finished_copy_does_not_go_back_to_pre_copy() {
        assert_eq!(states(StopCopy, PreCopy), None);
        assert_eq!(states(StopCopy, PreCopyP2p), None);
    }

    #[test]
    fn the_longest_way_leaves_the_saving_states_first() {
        let way = states(PreCopy, Resuming).unwrap();
        assert_eq!((way.len(), way.last()), (4, Some(&Resuming)));
        assert!(!way.contains(&StopCopy));
    }

    #[test]
    fn switching_over_keeps_the_file() {
        let way = Oracle::new(ALL).way(PreCopy, StopCopy).unwrap();
        assert_eq!(way, [(PreCopyP2p, File::Kept), (StopCopy, File::Kept)]);
    }

    #[test]
    fn a_device_without_p2p_goes_straight() {
        let oracle = Oracle::new(u64::from(VFIO_MIGRATION_STOP_COPY));
        assert_eq!(oracle.way(Running, Stop), Some(vec![(Stop, File::None)]));
        assert_eq!(oracle.way(Running, RunningP2p), None);
        assert_eq!(oracle.way(Running, PreCopy), None);
    }
}
