// SPDX-License-Identifier: GPL-2.0

//! The migration states of VFIO protocol v2, and the single arcs between them.
//!
//! Source: `enum vfio_device_mig_state` in
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h). A device of this SDK always
//! offers STOP_COPY, P2P and PRE_COPY together, so there is one table and not four. A request for a
//! distant state is walked in single arcs ([`State::step_to`]), each of which means one thing to
//! the device ([`Transition`]).

/// A migration state, with its value in the UAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The device failed, and must be reset; never a target.
    Error = 0,
    /// The device is stopped: no DMA, no interrupts, no change of internal state.
    Stop = 1,
    /// The device runs.
    Running = 2,
    /// The device is stopped, and its final state is read from the data file.
    StopCopy = 3,
    /// The device is stopped, and a state is written to the data file.
    Resuming = 4,
    /// The device runs, but starts no peer-to-peer DMA.
    RunningP2p = 5,
    /// The device runs, and state that may change again is read from the data file.
    PreCopy = 6,
    /// [`PreCopy`](Self::PreCopy) without peer-to-peer DMA.
    PreCopyP2p = 7,
}

/// What a single arc requires of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// RUNNING to RUNNING_P2P, PRE_COPY to PRE_COPY_P2P: the device stops all DMA, to guest memory
    /// and to other devices' memory that is mapped there.
    Quiesce,
    /// RUNNING_P2P to RUNNING, PRE_COPY_P2P to PRE_COPY: the device continues.
    Resume,
    /// RUNNING_P2P to STOP: the device stops its interrupts.
    HoldInterrupts,
    /// STOP to RUNNING_P2P: the device signals the interrupts that are due.
    ReleaseInterrupts,
    /// RUNNING to PRE_COPY, RUNNING_P2P to PRE_COPY_P2P: a saving session begins while the device
    /// runs.
    BeginPreCopy,
    /// PRE_COPY to RUNNING, PRE_COPY_P2P to RUNNING_P2P: the saving session is abandoned.
    AbandonPreCopy,
    /// PRE_COPY_P2P to STOP_COPY: interrupts stop, and the saving session enters its last phase.
    FinishPreCopy,
    /// STOP to STOP_COPY: a saving session begins in its last phase.
    BeginStopCopy,
    /// STOP_COPY to STOP: the saving session ends.
    EndStopCopy,
    /// STOP to RESUMING: a loading session begins.
    BeginResuming,
    /// RESUMING to STOP: the loaded state is committed to the device.
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

    /// Returns the state with the UAPI's value `raw`, or `None` if there is none.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(raw).ok()?).copied()
    }

    /// Returns the name of the state, as VFIO's debugfs has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Error => "ERROR",
            Stop => "STOP",
            Running => "RUNNING",
            StopCopy => "STOP_COPY",
            Resuming => "RESUMING",
            RunningP2p => "RUNNING_P2P",
            PreCopy => "PRE_COPY",
            PreCopyP2p => "PRE_COPY_P2P",
        }
    }

    /// Returns the next state on the way to `target`, with the meaning of the arc to it.
    ///
    /// Returns `None` if there is no way, or `target` is the present state, at which the caller
    /// must stop.
    ///
    /// The ways are those of `vfio_mig_get_next_state()` in
    /// [`drivers/vfio/vfio_main.c`](srctree/drivers/vfio/vfio_main.c) for a device that offers
    /// STOP_COPY, P2P and PRE_COPY: no session (PRE_COPY, STOP_COPY, RESUMING) is entered on the
    /// way to another state.
    pub fn step_to(self, target: State) -> Option<(State, Transition)> {
        let next = match (self, target) {
            (State::Error, _) | (_, State::Error) => return None,
            (a, b) if a == b => return None,
            // A pre-copy that was finished cannot be continued.
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

    /// Returns the meaning of the arc to `next`, or `None` if there is no such arc.
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

    /// Returns whether a saving session is open while the device runs.
    pub fn is_pre_copy(self) -> bool {
        matches!(self, PreCopy | PreCopyP2p)
    }
}
