// SPDX-License-Identifier: GPL-2.0

//! The migration session: one state, one owner, and the stream that it saves or loads.
//!
//! `session` walks from state to state and does what each transition means. `save` makes a stream
//! of what the driver saves; `load` checks one and commits it. This layer knows the driver's traits
//! and neither protocol: both are front ends in `vfio`, which use [`MigrationState`].

mod load;
mod save;
mod session;

pub(crate) use session::{MigrationState, NewFile, Protocol, Session, Transfer};
