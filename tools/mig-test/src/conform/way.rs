// SPDX-License-Identifier: GPL-2.0
//! The ways in which a device at work is moved to another one, or to nowhere.

use std::fmt;

/// A way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Stopped, saved, loaded.
    StopCopy,
    /// The same, to a device that has worked before and was not reset.
    Used,
    /// Saved in pre-copy as far as it goes, then stopped, in pieces of odd sizes.
    PreCopy,
    /// Works on while it is in pre-copy: this many steps.
    Working(usize),
    /// Stopped for peers in pre-copy and started again, works on for a step, then stopped.
    TurnedBack,
    /// Is stopped for peers in pre-copy, takes a write there, then stopped.
    InP2p,
    /// A pre-copy is given up after a few bytes and begun anew.
    Anew,
    /// A stream is written up to its middle, given up by a reset, and written anew.
    Again,
    /// Protocol v1, stopped.
    V1,
    /// Protocol v1, with pre-copy.
    V1PreCopy,
    /// To nowhere: given up in pre-copy.
    CancelledPreCopy,
    /// To nowhere: stopped for peers in pre-copy, and given up there.
    CancelledP2p,
    /// To nowhere: given up when the state was saved.
    CancelledStopCopy,
    /// To nowhere: given up in protocol v1's pre-copy.
    CancelledV1,
}

impl Way {
    /// All ways, the simplest first.
    pub const ALL: [Way; 15] = [
        Way::StopCopy,
        Way::CancelledStopCopy,
        Way::CancelledPreCopy,
        Way::CancelledP2p,
        Way::Used,
        Way::PreCopy,
        Way::Working(1),
        Way::Working(3),
        Way::TurnedBack,
        Way::InP2p,
        Way::Anew,
        Way::Again,
        Way::V1,
        Way::V1PreCopy,
        Way::CancelledV1,
    ];

    /// Returns whether the device continues where it was.
    pub fn is_cancelled(self) -> bool {
        use Way::{CancelledP2p, CancelledPreCopy, CancelledStopCopy, CancelledV1};
        matches!(
            self,
            CancelledPreCopy | CancelledP2p | CancelledStopCopy | CancelledV1
        )
    }

    /// Returns whether it takes protocol v1.
    pub fn is_v1(self) -> bool {
        matches!(self, Way::V1 | Way::V1PreCopy | Way::CancelledV1)
    }

    /// Returns whether it takes PRE_COPY of protocol v2.
    pub fn needs_pre_copy(self) -> bool {
        use Way::{Anew, CancelledPreCopy, PreCopy, Working};
        self.needs_p2p() || matches!(self, PreCopy | Working(_) | Anew | CancelledPreCopy)
    }

    /// Returns whether it takes the states in which the device starts no peer-to-peer transfers.
    pub fn needs_p2p(self) -> bool {
        matches!(self, Way::TurnedBack | Way::InP2p | Way::CancelledP2p)
    }
}

impl Way {
    /// Returns whether a move on this way is a check of a rule of moves.
    pub fn shows(self, rule: &str) -> bool {
        let is_twice = self == Way::StopCopy;
        match rule {
            "cancel.state" => self.is_cancelled(),
            "stop.same" | "size.near" => is_twice,
            "load.same" => is_twice || self == Way::Used,
            "size.stop-copy" => !self.is_v1() && !self.gives_up_early(),
            "move.completes" => true,
            _ if rule.starts_with("stop.") => !self.gives_up_early(),
            _ => !self.is_cancelled(),
        }
    }

    /// Returns whether nothing of STOP_COPY is read.
    fn gives_up_early(self) -> bool {
        self.is_cancelled() && self != Way::CancelledStopCopy
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Way::Working(steps) = self {
            return write!(f, "PRE_COPY during {steps} steps of work, and STOP_COPY");
        }
        f.write_str(match self {
            Way::StopCopy => "STOP_COPY",
            Way::Used => "STOP_COPY to a device that has worked before",
            Way::PreCopy | Way::Working(_) => "PRE_COPY and STOP_COPY in odd pieces",
            Way::TurnedBack => "PRE_COPY, PRE_COPY_P2P, PRE_COPY again, and STOP_COPY",
            Way::InP2p => "PRE_COPY, PRE_COPY_P2P during a write, and STOP_COPY",
            Way::Anew => "PRE_COPY given up and begun anew, and STOP_COPY",
            Way::Again => "STOP_COPY, loaded up to the middle, reset, and loaded anew",
            Way::V1 => "protocol v1, stopped",
            Way::V1PreCopy => "protocol v1 with pre-copy",
            Way::CancelledPreCopy => "PRE_COPY and back to RUNNING",
            Way::CancelledP2p => "PRE_COPY, PRE_COPY_P2P, and back to RUNNING",
            Way::CancelledStopCopy => "STOP_COPY and back to RUNNING",
            Way::CancelledV1 => "pre-copy of protocol v1 and back to RUNNING",
        })
    }
}
