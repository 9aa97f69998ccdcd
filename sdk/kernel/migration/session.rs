// SPDX-License-Identifier: GPL-2.0

//! The migration session of an open device: one state, one owner, one lock.
//!
//! User space requests a state; the session walks there in single arcs and does what each means.
//! The protocol that takes the device out of RUNNING and STOP owns it until it is back in one of
//! these; the other protocol can read the state and not change it. Data files refer to the session
//! by number, not by pointer: when the session ends, in whatever way, its number is retired and the
//! file gives ENODEV.

use super::{
    load::Incoming,
    save::{stop_copy_length, Outgoing},
};
use crate::{
    base::{lock, trace},
    driver::{Open, Operations, Phase},
    memory::Wakeup,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
};
use mdev_model::{
    irq,
    state::{State, Transition},
};

/// The migration state of an mdev, from `create` to `remove`, and longer while a data file is open.
#[pin_data]
pub(crate) struct MigrationState<O: Operations> {
    #[pin]
    session: Mutex<Session<O>>,
    /// The session's state, for readers that must not wait for the lock. Written with the lock
    /// held.
    state: Atomic<u32>,
    pub(crate) wakeup: Arc<Wakeup>,
}

/// The transfer of the current session, if it has one.
#[expect(
    clippy::large_enum_variant,
    reason = "a device has one, and none to allocate when a session begins"
)]
pub(crate) enum Transfer<O: Operations> {
    None,
    Saving(Outgoing<O>),
    Loading(Incoming<O>),
}

/// The protocols through which user space migrates a device: each a front end of the same session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The registers of a region: `vfio/migration_v1.rs`.
    V1,
    /// Features and data files: `vfio/migration_v2.rs`.
    V2,
}

/// The state that the session's lock protects.
pub(crate) struct Session<O: Operations> {
    /// `None` while the device is closed.
    open: Option<Arc<Open<O>>>,
    state: State,
    /// The protocol that took the device out of RUNNING and STOP; `None` in these states.
    owner: Option<Protocol>,
    /// The number of the current session; data files of another number give ENODEV.
    number: u64,
    transfer: Transfer<O>,
}

/// What debugfs and sysfs show of a session.
pub(crate) struct Summary {
    /// The protocol that owns the session.
    pub(crate) owner: Option<Protocol>,
    /// The number of the session.
    pub(crate) number: u64,
    /// The bytes that STOP_COPY has yet to transfer; ENODEV while the device is closed.
    pub(crate) stop_copy_length: Result<u64>,
    /// The interrupts of an open device.
    pub(crate) interrupts: Option<irq::Summary>,
}

/// The data file to be created for a change of state.
pub(crate) struct NewFile {
    /// The session that the file belongs to.
    pub(crate) number: u64,
    /// Whether user space writes to the file, instead of reading it.
    pub(crate) loads: bool,
}

impl<O: Operations> MigrationState<O> {
    /// Creates the state of a closed device, which counts as running.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let wakeup = Wakeup::new()?;
        Arc::pin_init(
            pin_init!(Self {
                session <- Mutex::new(Session {
                    open: None,
                    state: State::Running,
                    owner: None,
                    number: 0,
                    transfer: Transfer::None,
                }, lock::SESSION, static_lock_class!()),
                state: Atomic::new(State::Running as u32),
                wakeup,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the state, one of `enum vfio_device_mig_state`, at any time and without waiting.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Relaxed)
    }

    /// Adds the device when it has been opened.
    pub(crate) fn open(&self, open: Arc<Open<O>>) {
        self.session.lock().open = Some(open);
    }

    /// Returns the bytes that STOP_COPY has yet to transfer; ENODEV while the device is closed.
    pub(crate) fn stop_copy_length(&self) -> Result<u64> {
        self.session.lock().stop_copy_length()
    }

    /// Returns a summary of the session, for a reader that must not wait; `None` while its state is
    /// being changed, or a part of it transferred.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let session = self.session.try_lock()?;
        Some(Summary {
            owner: session.owner,
            number: session.number,
            stop_copy_length: session.stop_copy_length(),
            interrupts: session.open.as_ref().map(|open| open.cx.irqs.summary()),
        })
    }

    /// Runs `f` if session `number` is the current one; ENODEV if not.
    pub(crate) fn with_session<R>(
        &self,
        number: u64,
        f: impl FnOnce(&Open<O>, State, &mut Transfer<O>) -> Result<R>,
    ) -> Result<R> {
        let mut session = self.session.lock();
        let session = &mut *session;
        if session.number != number {
            return Err(ENODEV);
        }
        let open = session.open.as_ref().ok_or(ENODEV)?;
        f(open, session.state, &mut session.transfer)
    }

    /// Arms a one-shot wakeup: the next write to device memory, or the driver when it has more to
    /// save, wakes pollers.
    pub(crate) fn watch(&self) {
        let session = self.session.lock();
        if let Some(open) = &session.open {
            self.wakeup.arm();
            let parts = open.parts().iter();
            parts.for_each(|part| part.watch(&self.wakeup));
        }
    }

    /// Runs `f` with the session, which it may change, and wakes pollers.
    pub(crate) fn locked<R>(&self, f: impl FnOnce(&mut Session<O>) -> R) -> R {
        let mut session = self.session.lock();
        let result = f(&mut session);
        self.state.store(session.state as u32, Relaxed);
        drop(session);
        self.wakeup.wake();
        result
    }

    /// Walks to `target` on behalf of protocol v2.
    ///
    /// `file` creates the data file, if the state has one, under the lock. If it fails, the session
    /// ends and the device returns to the state before.
    ///
    /// # Errors
    ///
    /// EBUSY if protocol v1 owns the session, EINVAL if there is no way to `target`; else the error
    /// of `file` or the driver.
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

    /// Handles `VFIO_DEVICE_RESET` and a function-level reset: returns from any state to RUNNING,
    /// as after power-on.
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before the engines have stopped; nothing has changed then.
    /// The driver's error, if it has not reset the device.
    pub(crate) fn reset(&self) -> Result {
        self.locked(|session| {
            let open = session.open.clone();
            open.as_ref().map_or(Ok(()), |open| open.stop_engines())?;
            session.end();
            let reset = open.as_ref().map_or(Ok(()), |open| open.reset());
            session.be_running();
            reset
        })
    }

    /// Ends the session and removes the device, which is being closed.
    ///
    /// When this returns, data files give ENODEV and no longer use the device.
    pub(crate) fn close(&self) {
        let open = self.locked(|session| {
            session.end();
            session.be_running();
            session.open.take()
        });
        // Not under the lock: if this is the last reference, the driver's destructor runs here.
        drop(open);
    }
}

impl<O: Operations> Session<O> {
    /// Returns the current state, whichever protocol set it.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Returns the device and its transfer if `protocol` owns the session.
    pub(crate) fn owned_by(&mut self, protocol: Protocol) -> Option<(&Open<O>, &mut Transfer<O>)> {
        let open = self.open.as_deref()?;
        (self.owner == Some(protocol)).then_some((open, &mut self.transfer))
    }

    fn stop_copy_length(&self) -> Result<u64> {
        let open = self.open.as_ref().ok_or(ENODEV)?;
        let saving = match &self.transfer {
            Transfer::Saving(saving) => Some(saving),
            _ => None,
        };
        Ok(stop_copy_length(open, saving))
    }

    /// Walks to `target` on behalf of `protocol`.
    ///
    /// # Errors
    ///
    /// EBUSY if the other protocol owns the session, EINVAL if there is no way to `target`; else
    /// the driver's error. The device stays in the last state that it reached.
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
            let (next, transition) = self.state.step_to(target).ok_or(EINVAL)?;
            let walked = self.walk(transition);
            if let Some(open) = &self.open {
                let error = trace::error_of(&walked);
                trace::arc(open.cx.device(), self.state as u32, next as u32, error);
            }
            new = walked?;
            self.state = next;
        }
        Ok(new)
    }

    /// Makes `protocol` the owner of the session, or clears the owner in RUNNING and STOP.
    fn settle(&mut self, protocol: Protocol) {
        let free = matches!(self.state, State::Running | State::Stop);
        self.owner = (!free).then_some(protocol);
    }

    /// Does what `transition` means, while the state is still the one before.
    fn walk(&mut self, transition: Transition) -> Result<Option<NewFile>> {
        let open = self.open.clone().ok_or(ENODEV)?;
        match transition {
            // Another device's memory may be mapped in guest memory, so a device without
            // peer-to-peer DMA must not do any DMA.
            Transition::Quiesce => open.quiesce()?,
            Transition::Resume => open.resume(),
            Transition::HoldInterrupts => open.cx.irqs.stop(),
            Transition::ReleaseInterrupts => open.cx.irqs.start(),
            Transition::BeginPreCopy => {
                let saving = Outgoing::new(&open)?;
                return Ok(Some(self.begin(Transfer::Saving(saving), false)));
            }
            Transition::BeginStopCopy => {
                let mut saving = Outgoing::new(&open)?;
                saving.phase = Phase::StopCopy;
                return Ok(Some(self.begin(Transfer::Saving(saving), false)));
            }
            Transition::FinishPreCopy => {
                open.cx.irqs.stop();
                if let Transfer::Saving(saving) = &mut self.transfer {
                    saving.phase = Phase::StopCopy;
                }
            }
            Transition::BeginResuming => {
                let loading = Incoming::new(&open)?;
                return Ok(Some(self.begin(Transfer::Loading(loading), true)));
            }
            Transition::AbandonPreCopy | Transition::EndStopCopy => self.end(),
            Transition::Commit => {
                if let Transfer::Loading(loading) = &mut self.transfer {
                    loading.commit(&open)?;
                }
                self.end();
            }
        }
        Ok(None)
    }

    /// Sets the state to RUNNING, without an owner.
    fn be_running(&mut self) {
        self.state = State::Running;
        self.owner = None;
    }

    fn begin(&mut self, transfer: Transfer<O>, loads: bool) -> NewFile {
        self.end();
        self.transfer = transfer;
        if let Some(open) = &self.open {
            trace::session(open.cx.device(), self.number, loads);
        }
        NewFile {
            number: self.number,
            loads,
        }
    }

    /// Ends the current session: its number is retired and the window emptied.
    fn end(&mut self) {
        self.transfer = Transfer::None;
        self.number += 1;
        if let Some(open) = &self.open {
            open.cx.window.clear();
        }
    }

    /// Returns to the state before the session that just began, after its file could not be
    /// created.
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
