// SPDX-License-Identifier: GPL-2.0
//! Runs tasks in parallel, as many at a time as this machine has processors and memory for.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The memory of a task in KiB: that of a lab VM, and of QEMU itself.
const MEMORY: u64 = 5 << 20;

/// Returns the number of tasks that can run here: each needs a processor and its memory.
pub fn places() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    room(processors, &meminfo)
}

fn room(processors: usize, meminfo: &str) -> usize {
    let mut lines = meminfo.lines();
    let available = lines.find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let memory = available.unwrap_or_default() / MEMORY;
    processors.min(memory as usize).max(1)
}

/// Runs all tasks, each once, in order as places become free. `run` also gets the place, from 1 on:
/// no two tasks have the same place at a time. It returns further tasks, which come last.
pub fn work_off<T: Send>(places: usize, tasks: Vec<T>, run: &(dyn Fn(usize, T) -> Vec<T> + Sync)) {
    let list = List {
        state: Mutex::new((VecDeque::from(tasks), 0)),
        changed: Condvar::new(),
    };
    let list = &list;
    thread::scope(|scope| {
        for place in 1..=places {
            scope.spawn(move || {
                while let Some(task) = list.next() {
                    // Dropped by a panic too, so that nobody waits for it.
                    let mut running = Running(list, Vec::new());
                    running.1 = run(place, task);
                }
            });
        }
    });
}

/// The tasks to do, and the number of those that are running.
struct List<T> {
    state: Mutex<(VecDeque<T>, usize)>,
    changed: Condvar,
}

impl<T> List<T> {
    fn state(&self) -> MutexGuard<'_, (VecDeque<T>, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a task; returns `None` once there can be no more.
    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(task) = state.0.pop_front() {
                state.1 += 1;
                return Some(task);
            }
            if state.1 == 0 {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A running task, and the further ones that it returns.
struct Running<'l, T>(&'l List<T>, Vec<T>);

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.1 -= 1;
        state.0.extend(self.1.drain(..));
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn there_is_room_for_as_many_as_processors_and_memory_allow_and_for_one_always() {
        let with = |kib: u64| format!("MemTotal: 1 kB\nMemAvailable: {kib:>9} kB\n");
        assert_eq!(room(2, &with(24 << 20)), 2);
        assert_eq!(room(8, &with(24 << 20)), 4);
        assert_eq!(room(2, &with((10 << 20) - 1)), 1);
        assert_eq!(room(2, &with(0)), 1);
        assert_eq!(room(2, ""), 1);
    }

    #[test]
    fn every_task_runs_once_and_two_run_at_a_time() {
        // Without a second task beside it, none would get past this.
        let both = Barrier::new(2);
        let done = Mutex::new(Vec::new());
        work_off(2, (0..6).collect(), &|place, task| {
            both.wait();
            done.lock().unwrap().push((place, task));
            Vec::new()
        });
        let done = done.into_inner().unwrap();
        let mut tasks: Vec<i32> = done.iter().map(|(_, task)| *task).collect();
        tasks.sort_unstable();
        assert_eq!(tasks, [0, 1, 2, 3, 4, 5]);
        assert!([1, 2]
            .iter()
            .all(|place| done.iter().filter(|one| one.0 == *place).count() == 3));
    }

    #[test]
    fn one_place_keeps_the_order() {
        let done = Mutex::new(Vec::new());
        work_off(1, vec!["a", "b", "c"], &|_, task| {
            done.lock().unwrap().push(task);
            Vec::new()
        });
        assert_eq!(done.into_inner().unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn a_place_without_a_task_waits_for_those_that_a_running_one_returns() {
        // The second task is done by the other place while the third runs, or this hangs.
        let both = Barrier::new(2);
        let done = Mutex::new(Vec::new());
        work_off(2, vec![1], &|_, task| {
            if task > 1 {
                both.wait();
            }
            done.lock().unwrap().push(task);
            match task {
                1 => vec![2, 3],
                _ => Vec::new(),
            }
        });
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3]);
    }
}
