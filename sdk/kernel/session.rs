// SPDX-License-Identifier: GPL-2.0

//! The migration session of an open device: one state, one owner, one lock.
//!
//! User space asks for a state; the session walks there in single arcs and does what each arc means.
//! The protocol that takes the device out of RUNNING and STOP owns it until it is back there; the
//! other one sees the state and cannot change it. Data files refer to the session by number and not by
//! pointer: when it ends, by whatever way, the number is used up and the file gives ENODEV.

use crate::{
    device::{Device, Open},
    load::Incoming,
    lock,
    migrate::Phase,
    save::Outgoing,
};
use kernel::{
    new_poll_condvar,
    prelude::*,
    static_lock_class,
    sync::{poll::PollCondVar, Arc, Mutex},
};
use mdev_model::state::{self, State};

/// What connects an open device and its data files: outlives both.
#[pin_data]
pub(crate) struct Link<T: Device> {
    #[pin]
    session: Mutex<Session<T>>,
    pub(crate) readable: Arc<Readable>,
}

/// Wakes who polls for a data file to become readable.
#[pin_data]
pub(crate) struct Readable {
    #[pin]
    pub(crate) changed: PollCondVar,
}

impl Readable {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                changed <- new_poll_condvar!("mdev_readable"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }
}

/// The data of an open data file: absent while none is open.
#[expect(
    clippy::large_enum_variant,
    reason = "a device has one, and none to allocate when a session begins"
)]
pub(crate) enum Transfer<T: Device> {
    None,
    Saving(Outgoing<T>),
    Loading(Incoming<T>),
}

/// The protocols through which user space migrates a device: each a front end of the same session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The registers of a region: `v1.rs`.
    V1,
    /// Features and data files: `file.rs`.
    V2,
}

pub(crate) struct Session<T: Device> {
    /// None once the device is closed.
    open: Option<Arc<Open<T>>>,
    state: State,
    /// Who took the device out of RUNNING and STOP; none while it is in one of these.
    owner: Option<Protocol>,
    /// The number of the current session; data files of another number are dead.
    number: u64,
    transfer: Transfer<T>,
}

/// A data file that a change of state has opened.
pub(crate) struct NewFile {
    /// The session that the file belongs to.
    pub(crate) number: u64,
    /// Whether it is written to, and not read.
    pub(crate) loads: bool,
}

impl<T: Device> Link<T> {
    pub(crate) fn new(open: Arc<Open<T>>) -> Result<Arc<Self>> {
        let readable = Readable::new()?;
        Arc::pin_init(
            pin_init!(Self {
                session <- Mutex::new(Session {
                    open: Some(open),
                    state: State::Running,
                    owner: None,
                    number: 0,
                    transfer: Transfer::None,
                }, lock::SESSION, static_lock_class!()),
                readable,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The current state.
    pub(crate) fn state(&self) -> State {
        self.session.lock().state
    }

    /// Runs `f` with the device and its state.
    pub(crate) fn with<R>(
        &self,
        f: impl FnOnce(&Open<T>, State, &mut Transfer<T>) -> R,
    ) -> Result<R> {
        let mut session = self.session.lock();
        let session = &mut *session;
        let open = session.open.as_ref().ok_or(ENODEV)?;
        Ok(f(open, session.state, &mut session.transfer))
    }

    /// Runs `f` if session `number` is the current one; ENODEV if not.
    pub(crate) fn with_session<R>(
        &self,
        number: u64,
        f: impl FnOnce(&Open<T>, State, &mut Transfer<T>) -> Result<R>,
    ) -> Result<R> {
        let mut session = self.session.lock();
        let session = &mut *session;
        if session.number != number {
            return Err(ENODEV);
        }
        let open = session.open.as_ref().ok_or(ENODEV)?;
        f(open, session.state, &mut session.transfer)
    }

    /// Has whoever writes the device's memory next wake those who poll.
    pub(crate) fn watch(&self) {
        let session = self.session.lock();
        if let Some(open) = &session.open {
            let memories = open.memories();
            memories.for_each(|(_, memory)| memory.watch(&self.readable));
        }
    }

    /// Runs `f` with the session, which may change.
    pub(crate) fn locked<R>(&self, f: impl FnOnce(&mut Session<T>) -> R) -> R {
        let result = f(&mut self.session.lock());
        self.readable.changed.notify_all();
        result
    }

    /// Protocol v2's way to `target`. The file, if there is one, is made by `file` under the lock; if
    /// that fails its session ends again.
    pub(crate) fn set_state<F>(
        &self,
        target: State,
        file: impl FnOnce(NewFile) -> Result<F>,
    ) -> Result<Option<F>> {
        self.locked(|session| {
            let new = session.set_state(Protocol::V2, target)?;
            let result = new.map(file).transpose();
            if result.is_err() {
                session.abandon();
            }
            result
        })
    }

    /// Ends whatever is going on, runs `reset` on the device and leaves it in RUNNING.
    pub(crate) fn reset(&self, reset: impl FnOnce()) {
        let mut session = self.session.lock();
        session.end();
        reset();
        session.state = State::Running;
        session.owner = None;
        self.readable.changed.notify_all();
    }

    /// The device is being closed: its data files are dead when this returns, and refer to it no more.
    pub(crate) fn close(&self) {
        let mut session = self.session.lock();
        session.end();
        let open = session.open.take();
        drop(session);
        self.readable.changed.notify_all();
        // Not under the lock: if this is the last reference, the driver's destructor runs here.
        drop(open);
    }
}

impl<T: Device> Session<T> {
    /// The current state, whoever brought the device there.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// The device and its transfer, if `protocol` owns the session.
    pub(crate) fn owned_by(&mut self, protocol: Protocol) -> Option<(&Open<T>, &mut Transfer<T>)> {
        let open = self.open.as_deref()?;
        (self.owner == Some(protocol)).then_some((open, &mut self.transfer))
    }

    /// Walks to `target` on behalf of `protocol`; EBUSY if the other one owns the session. On an error
    /// the device stays in the last state that it reached.
    pub(crate) fn set_state(
        &mut self,
        protocol: Protocol,
        target: State,
    ) -> Result<Option<NewFile>> {
        if self.owner.is_some_and(|owner| owner != protocol) {
            return Err(EBUSY);
        }
        let result = self.walk_to(target);
        self.settle(protocol);
        result
    }

    fn walk_to(&mut self, target: State) -> Result<Option<NewFile>> {
        let mut new = None;
        while self.state != target {
            let (next, arc) = self.state.step_to(target).ok_or(EINVAL)?;
            new = self.walk(arc)?;
            self.state = next;
        }
        Ok(new)
    }

    /// `protocol` owns the session, or nobody does where there is none.
    fn settle(&mut self, protocol: Protocol) {
        let free = matches!(self.state, State::Running | State::Stop);
        self.owner = (!free).then_some(protocol);
    }

    /// Does what `arc` means. The state is still the one before.
    fn walk(&mut self, arc: state::Arc) -> Result<Option<NewFile>> {
        let open = self.open.clone().ok_or(ENODEV)?;
        match arc {
            // Another device's memory may be mapped among the guest's, so a device that does no
            // peer-to-peer DMA does none.
            state::Arc::Quiesce => open.driver.quiesce(&open.dev)?,
            state::Arc::Resume => open.driver.resume(&open.dev),
            state::Arc::HoldInterrupts => open.dev.irqs.stop(),
            state::Arc::ReleaseInterrupts => open.dev.irqs.start(),
            state::Arc::BeginPreCopy => {
                let saving = Outgoing::new(&open)?;
                return Ok(Some(self.begin(Transfer::Saving(saving), false)));
            }
            state::Arc::BeginStopCopy => {
                let mut saving = Outgoing::new(&open)?;
                saving.phase = Phase::StopCopy;
                return Ok(Some(self.begin(Transfer::Saving(saving), false)));
            }
            state::Arc::FinishPreCopy => {
                open.dev.irqs.stop();
                if let Transfer::Saving(saving) = &mut self.transfer {
                    saving.phase = Phase::StopCopy;
                }
            }
            state::Arc::BeginResuming => {
                let loading = Incoming::new(&open)?;
                return Ok(Some(self.begin(Transfer::Loading(loading), true)));
            }
            state::Arc::AbandonPreCopy | state::Arc::EndStopCopy => self.end(),
            state::Arc::Commit => {
                if let Transfer::Loading(loading) = &mut self.transfer {
                    loading.commit(&open)?;
                }
                self.end();
            }
        }
        Ok(None)
    }

    fn begin(&mut self, transfer: Transfer<T>, loads: bool) -> NewFile {
        self.end();
        self.transfer = transfer;
        NewFile {
            number: self.number,
            loads,
        }
    }

    /// The current session is over: its file is dead, and what was in the window is gone.
    fn end(&mut self) {
        self.transfer = Transfer::None;
        self.number += 1;
        if let Some(open) = &self.open {
            open.dev.window.clear();
        }
    }

    /// User space got no file for the session that was just begun: back to the state before it.
    fn abandon(&mut self) {
        self.end();
        self.state = match self.state {
            State::PreCopy => State::Running,
            State::PreCopyP2p => State::RunningP2p,
            State::StopCopy | State::Resuming => State::Stop,
            other => other,
        };
        self.settle(Protocol::V2);
    }
}
