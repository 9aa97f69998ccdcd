// SPDX-License-Identifier: GPL-2.0

//! The engines of a device: what stops them all between two steps, and lets them go on.

use crate::base::wait::WaitQueue;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// An [`Engine`](super::Engine) of any task.
pub(super) trait Kick: Send + Sync {
    /// Runs the task once more.
    fn kick(&self);
}

/// The engines of an open device.
#[pin_data]
pub(crate) struct Engines {
    #[pin]
    state: Mutex<State>,
    /// Woken after a step, if somebody waits for the end of one.
    #[pin]
    idle: WaitQueue,
}

struct State {
    stopped: bool,
    /// Number of steps in progress.
    steps: usize,
    /// Number of threads that wait for the end of a step.
    waiting: usize,
    engines: KVec<Arc<dyn Kick>>,
}

impl Engines {
    /// Creates an empty set of engines, which run.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                stopped: false,
                steps: 0,
                waiting: 0,
                engines: KVec::new(),
            }, "mdev_engines"),
            idle <- WaitQueue::new(),
        })
    }

    /// Adds an engine.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub(super) fn add(&self, engine: Arc<dyn Kick>) -> Result {
        Ok(self.state.lock().engines.push(engine, GFP_KERNEL)?)
    }

    /// Removes the engine at this address, if it was added.
    pub(super) fn remove(&self, engine: *const ()) {
        let mut state = self.state.lock();
        state
            .engines
            .retain(|known| !core::ptr::addr_eq(&raw const **known, engine));
    }

    /// Runs `step`, and returns its result; `None`, without a call, while the engines are stopped.
    pub(super) fn run<R>(&self, step: impl FnOnce() -> R) -> Option<R> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        state.steps += 1;
        drop(state);
        let result = step();
        let mut state = self.state.lock();
        state.steps -= 1;
        let awaited = state.waiting > 0;
        drop(state);
        if awaited {
            self.idle.wake_all();
        }
        Some(result)
    }

    /// Stops the engines, and waits for the steps in progress.
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed first; the engines run then.
    pub(super) fn stop(&self) -> Result {
        self.state.lock().stopped = true;
        let is_idle = || self.state.lock().steps == 0;
        self.wait_killable(is_idle).inspect_err(|_| self.start())
    }

    /// Waits until `is_over`, which the end of a step makes true.
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed first.
    pub(super) fn wait_killable(&self, is_over: impl FnMut() -> bool) -> Result {
        self.state.lock().waiting += 1;
        let result = self.idle.wait_killable(is_over);
        self.state.lock().waiting -= 1;
        result
    }

    /// Waits until `is_over`, which the end of a step makes true.
    pub(super) fn wait(&self, is_over: impl FnMut() -> bool) {
        self.state.lock().waiting += 1;
        self.idle.wait(is_over);
        self.state.lock().waiting -= 1;
    }

    /// Lets the engines run again, and kicks them.
    pub(super) fn start(&self) {
        let mut state = self.state.lock();
        state.stopped = false;
        state.engines.iter().for_each(|engine| engine.kick());
    }
}
