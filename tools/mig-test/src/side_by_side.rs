// SPDX-License-Identifier: GPL-2.0
//! Runs tasks in parallel, as many at a time as this machine has processors and memory for.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Mutex, PoisonError};
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
/// no two tasks have the same place at a time.
pub fn work_off<T: Send>(places: usize, tasks: Vec<T>, run: &(dyn Fn(usize, T) + Sync)) {
    let tasks = Mutex::new(VecDeque::from(tasks));
    let next = || {
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.pop_front()
    };
    thread::scope(|scope| {
        for place in 1..=places {
            scope.spawn(move || {
                while let Some(task) = next() {
                    run(place, task);
                }
            });
        }
    });
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
            done.lock().unwrap().push(task)
        });
        assert_eq!(done.into_inner().unwrap(), ["a", "b", "c"]);
    }
}
