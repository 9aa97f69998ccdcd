// SPDX-License-Identifier: GPL-2.0

//! The migration states of VFIO protocol v2 and the single arcs between them.
//!
//! Source: `enum vfio_device_mig_state` in `include/uapi/linux/vfio.h`. A device of this SDK always
//! offers STOP_COPY, P2P and PRE_COPY together, so there is one table and not four. A request for a
//! distant state is walked as single arcs ([`State::step_to`]); each arc means one thing to the
//! device ([`Transition`]).

/// A migration state. The values are those of the UAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The device failed and only a reset helps. Never a target.
    Error = 0,
    /// No DMA, no interrupt, no change of internal state.
    Stop = 1,
    /// The device runs.
    Running = 2,
    /// Stopped; the data file delivers the final state.
    StopCopy = 3,
    /// Stopped; the data file takes a state.
    Resuming = 4,
    /// Runs, but starts no peer-to-peer DMA.
    RunningP2p = 5,
    /// Runs; the data file delivers state that may change again.
    PreCopy = 6,
    /// [`PreCopy`](Self::PreCopy) without peer-to-peer DMA.
    PreCopyP2p = 7,
}

/// What a single arc asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// RUNNING to RUNNING_P2P, PRE_COPY to PRE_COPY_P2P: the device touches no memory any more,
    /// neither the guest's nor, where that is mapped for it, another device's.
    Quiesce,
    /// The way back.
    Resume,
    /// RUNNING_P2P to STOP: nor does it interrupt.
    HoldInterrupts,
    /// STOP to RUNNING_P2P: interrupts that are due are signalled.
    ReleaseInterrupts,
    /// RUNNING to PRE_COPY, RUNNING_P2P to PRE_COPY_P2P: a saving session opens, the device runs
    /// on.
    BeginPreCopy,
    /// PRE_COPY to RUNNING, PRE_COPY_P2P to RUNNING_P2P: the saving session is given up.
    AbandonPreCopy,
    /// PRE_COPY_P2P to STOP_COPY: no more interrupts, and the open saving session enters its last
    /// phase.
    FinishPreCopy,
    /// STOP to STOP_COPY: a saving session opens in its last phase.
    BeginStopCopy,
    /// STOP_COPY to STOP: the saving session ends.
    EndStopCopy,
    /// STOP to RESUMING: a loading session opens.
    BeginResuming,
    /// RESUMING to STOP: the loaded state becomes the device's.
    Commit,
}

use State::{PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy};

impl State {
    /// Every state, in the order of the UAPI's values.
    pub const ALL: [State; 8] = [
        State::Error,
        Stop,
        Running,
        StopCopy,
        Resuming,
        RunningP2p,
        PreCopy,
        PreCopyP2p,
    ];

    /// The state with the UAPI's value `raw`, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(raw).ok()?).copied()
    }

    /// The next state on the way to `target`, and what the arc to it means; `None` where there is
    /// no way. Asking for the present state is no step and also `None`: the caller stops before.
    ///
    /// The states on the way are those of `vfio_mig_get_next_state()` for a device that offers
    /// STOP_COPY, P2P and PRE_COPY: a session (PRE_COPY, STOP_COPY, RESUMING) is never entered on
    /// the way to somewhere else.
    pub fn step_to(self, target: State) -> Option<(State, Transition)> {
        let next = match (self, target) {
            (State::Error, _) | (_, State::Error) => return None,
            (a, b) if a == b => return None,
            // A finished pre-copy is not taken up again.
            (StopCopy, PreCopy | PreCopyP2p) => return None,

            (Stop, StopCopy | Resuming) => target,
            (Stop, _) => RunningP2p,
            (StopCopy | Resuming, _) => Stop,

            (Running, PreCopy) => PreCopy,
            (Running, _) => RunningP2p,
            (RunningP2p, PreCopyP2p) => PreCopyP2p,
            (RunningP2p, Running | PreCopy) => Running,
            (RunningP2p, _) => Stop,

            (PreCopy, PreCopyP2p | StopCopy) => PreCopyP2p,
            (PreCopy, _) => Running,
            (PreCopyP2p, PreCopy | StopCopy) => target,
            (PreCopyP2p, _) => RunningP2p,
        };
        self.arc_to(next).map(|arc| (next, arc))
    }

    /// What the direct arc to `next` means, if there is one.
    fn arc_to(self, next: State) -> Option<Transition> {
        Some(match (self, next) {
            (Running, RunningP2p) | (PreCopy, PreCopyP2p) => Transition::Quiesce,
            (RunningP2p, Running) | (PreCopyP2p, PreCopy) => Transition::Resume,
            (RunningP2p, Stop) => Transition::HoldInterrupts,
            (Stop, RunningP2p) => Transition::ReleaseInterrupts,
            (Running, PreCopy) | (RunningP2p, PreCopyP2p) => Transition::BeginPreCopy,
            (PreCopy, Running) | (PreCopyP2p, RunningP2p) => Transition::AbandonPreCopy,
            (PreCopyP2p, StopCopy) => Transition::FinishPreCopy,
            (Stop, StopCopy) => Transition::BeginStopCopy,
            (StopCopy, Stop) => Transition::EndStopCopy,
            (Stop, Resuming) => Transition::BeginResuming,
            (Resuming, Stop) => Transition::Commit,
            _ => return None,
        })
    }

    /// Whether a saving session is open and the device still runs.
    pub fn is_pre_copy(self) -> bool {
        matches!(self, PreCopy | PreCopyP2p)
    }
}
