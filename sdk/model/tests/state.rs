// SPDX-License-Identifier: GPL-2.0

//! The migration states: every ordered pair, against two oracles that are independent of the model.
//!
//! One derives the way from the direct arcs and the rules in `include/uapi/linux/vfio.h`, the other
//! is the table of what `vfio_mig_get_next_state()` returns.

use mdev_model::state::{State, Transition};
use std::collections::VecDeque;
use State::{Error, PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy};

/// The direct arcs of the UAPI for a device with STOP_COPY, P2P and PRE_COPY, and their meaning.
const ARCS: [(State, State, Transition); 16] = [
    (Running, RunningP2p, Transition::Quiesce),
    (RunningP2p, Running, Transition::Resume),
    (RunningP2p, Stop, Transition::HoldInterrupts),
    (Stop, RunningP2p, Transition::ReleaseInterrupts),
    (Stop, StopCopy, Transition::BeginStopCopy),
    (StopCopy, Stop, Transition::EndStopCopy),
    (Stop, Resuming, Transition::BeginResuming),
    (Resuming, Stop, Transition::Commit),
    (Running, PreCopy, Transition::BeginPreCopy),
    (PreCopy, Running, Transition::AbandonPreCopy),
    (RunningP2p, PreCopyP2p, Transition::BeginPreCopy),
    (PreCopyP2p, RunningP2p, Transition::AbandonPreCopy),
    (PreCopy, PreCopyP2p, Transition::Quiesce),
    (PreCopyP2p, PreCopy, Transition::Resume),
    (PreCopyP2p, StopCopy, Transition::FinishPreCopy),
    // Never used, because a finished pre-copy cannot be continued; here so that the rule must act.
    (StopCopy, PreCopyP2p, Transition::BeginPreCopy),
];

fn is_saving(state: State) -> bool {
    matches!(state, PreCopy | PreCopyP2p | StopCopy)
}

fn is_session(state: State) -> bool {
    is_saving(state) || state == Resuming
}

/// Returns whether the UAPI's rules allow the path `from`, ..., `to`.
fn is_allowed(path: &[State]) -> bool {
    let (from, to) = (path[0], path[path.len() - 1]);
    let within_saving = is_saving(from) && is_saving(to);
    let interior = &path[1..path.len() - 1];
    interior.iter().all(|&s| !is_session(s) || within_saving)
}

/// Returns all shortest allowed paths.
///
/// Breadth first, over paths and not over states, because a state that is not allowed on one path
/// may be allowed on another.
fn shortest_paths(from: State, to: State) -> Vec<Vec<State>> {
    if from == StopCopy && is_saving(to) {
        return Vec::new();
    }
    let mut found: Vec<Vec<State>> = Vec::new();
    let mut queue = VecDeque::from([vec![from]]);
    while let Some(path) = queue.pop_front() {
        if found.first().is_some_and(|best| path.len() >= best.len()) {
            break;
        }
        let last = path[path.len() - 1];
        for &(_, next, _) in ARCS.iter().filter(|(a, ..)| *a == last) {
            if path.contains(&next) {
                continue;
            }
            let longer = [&path[..], &[next]].concat();
            if next != to {
                queue.push_back(longer);
            } else if is_allowed(&longer) {
                found.push(longer);
            }
        }
    }
    found
}

/// Returns the states and arcs of the model's way, without `from`; `None` if there is no way.
fn walk(from: State, to: State) -> Option<Vec<(State, Transition)>> {
    let mut steps = Vec::new();
    let mut at = from;
    while at != to {
        assert!(
            steps.len() < 5,
            "{from:?} to {to:?} does not end: {steps:?}"
        );
        let step = at.step_to(to)?;
        at = step.0;
        steps.push(step);
    }
    Some(steps)
}

fn pairs() -> impl Iterator<Item = (State, State)> {
    let all = State::ALL;
    all.into_iter()
        .flat_map(move |from| all.map(|to| (from, to)))
        .filter(|(from, to)| from != to)
}

#[test]
fn every_pair_takes_the_one_shortest_path_that_the_rules_allow() {
    let mut reached = 0;
    for (from, to) in pairs() {
        let expected = shortest_paths(from, to);
        assert!(expected.len() <= 1, "{from:?} to {to:?} is ambiguous");
        let expected = expected.first().map(|path| &path[1..]);
        let walked = walk(from, to).map(|s| s.iter().map(|s| s.0).collect::<Vec<_>>());
        assert_eq!(walked.as_deref(), expected, "{from:?} to {to:?}");
        reached += usize::from(walked.is_some());
    }
    // Seven states reach each other, except STOP_COPY to PRE_COPY and PRE_COPY_P2P.
    assert_eq!(reached, 7 * 6 - 2);
}

/// What `vfio_mig_get_next_state()` of Linux 7.2 returns if all features are offered. Rows are
/// the current state, columns the target, both in the order of `COLUMNS`; ERROR stands for -EINVAL.
const COLUMNS: [State; 7] = [
    Stop, Running, PreCopy, PreCopyP2p, StopCopy, Resuming, RunningP2p,
];
#[rustfmt::skip]
const KERNEL: [[State; 7]; 7] = [
    [Stop, RunningP2p, RunningP2p, RunningP2p, StopCopy, Resuming, RunningP2p],
    [RunningP2p, Running, PreCopy, RunningP2p, RunningP2p, RunningP2p, RunningP2p],
    [Running, Running, PreCopy, PreCopyP2p, PreCopyP2p, Running, Running],
    [RunningP2p, RunningP2p, PreCopy, PreCopyP2p, StopCopy, RunningP2p, RunningP2p],
    [Stop, Stop, Error, Error, StopCopy, Stop, Stop],
    [Stop, Stop, Stop, Stop, Stop, Resuming, Stop],
    [Stop, Running, Running, PreCopyP2p, Stop, Stop, RunningP2p],
];

#[test]
fn every_next_state_is_the_one_that_the_kernel_answers() {
    for (from, row) in COLUMNS.into_iter().zip(KERNEL) {
        for (to, next) in COLUMNS.into_iter().zip(row) {
            let expected = (next != Error && from != to).then_some(next);
            let stepped = from.step_to(to).map(|(next, _)| next);
            assert_eq!(stepped, expected, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn every_step_is_a_direct_arc_and_asks_what_the_uapi_says() {
    for (from, to) in pairs() {
        let mut at = from;
        for (next, arc) in walk(from, to).unwrap_or_default() {
            assert!(ARCS[..15].contains(&(at, next, arc)), "{at:?} to {next:?}");
            at = next;
        }
    }
}

#[test]
fn each_direct_arc_is_one_step() {
    for &(from, to, arc) in &ARCS[..15] {
        assert_eq!(from.step_to(to), Some((to, arc)), "{from:?} to {to:?}");
    }
}

#[test]
fn only_the_last_step_opens_a_session() {
    let opens = |arc| {
        matches!(
            arc,
            Transition::BeginPreCopy | Transition::BeginStopCopy | Transition::BeginResuming
        )
    };
    for (from, to) in pairs() {
        let steps = walk(from, to).unwrap_or_default();
        for (i, &(_, arc)) in steps.iter().enumerate() {
            assert!(
                !opens(arc) || i + 1 == steps.len(),
                "{from:?} to {to:?} opens a session that nobody gets: {steps:?}"
            );
        }
        // A file is created exactly where a session is entered from outside.
        if let Some((_, last)) = steps.last() {
            let continues = is_saving(from) && is_saving(to);
            let entered = is_session(to) && !continues;
            assert_eq!(opens(*last), entered, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_session_that_is_left_is_ended_once() {
    let ends = |arc| {
        matches!(
            arc,
            Transition::AbandonPreCopy | Transition::EndStopCopy | Transition::Commit
        )
    };
    for (from, to) in pairs() {
        let Some(steps) = walk(from, to) else {
            continue;
        };
        let ended = steps.iter().filter(|(_, arc)| ends(*arc)).count();
        let left = is_session(from) && !(is_saving(from) && is_saving(to));
        assert_eq!(ended, usize::from(left), "{from:?} to {to:?}");
    }
}

#[test]
fn error_is_neither_left_nor_entered() {
    for state in State::ALL {
        assert_eq!(Error.step_to(state), None, "to {state:?}");
        assert_eq!(state.step_to(Error), None, "from {state:?}");
    }
}

#[test]
fn the_present_state_is_no_step() {
    for state in State::ALL {
        assert_eq!(state.step_to(state), None, "{state:?}");
    }
}

#[test]
fn raw_values_are_those_of_the_uapi_and_no_others() {
    let uapi = [
        (0, Error),
        (1, Stop),
        (2, Running),
        (3, StopCopy),
        (4, Resuming),
        (5, RunningP2p),
        (6, PreCopy),
        (7, PreCopyP2p),
    ];
    for (raw, state) in uapi {
        assert_eq!(State::from_raw(raw), Some(state));
        assert_eq!(state as u32, raw);
    }
    for raw in [8, 9, 0xff, 0x100, i32::MAX as u32, u32::MAX] {
        assert_eq!(State::from_raw(raw), None, "{raw}");
    }
}

#[test]
fn the_device_pre_copies_in_two_states() {
    let pre_copies = State::ALL.into_iter().filter(|state| state.is_pre_copy());
    assert_eq!(pre_copies.collect::<Vec<_>>(), [PreCopy, PreCopyP2p]);
}
