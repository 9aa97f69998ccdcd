// SPDX-License-Identifier: GPL-2.0
//! The known reports of the kernel's checks that are not about this project's modules.
//!
//! lockdep: the type1 container calls a device's `dma_unmap` with `device_list_lock` held; a device
//! that has pages pinned unpins them there, which takes `lock`. Opening a device takes the two
//! locks in the opposite order. So lockdep reports the first unmap of a pinned page, whichever
//! driver pins. A report with any other lock is not the known one.
//!
//! UBSAN: mainline's mtty has an array of two ports, and uses the element of any BAR that user
//! space accesses (Documentation/findings.md, 8).

/// The first line of a report about lock order.
const FIRST: &str = "WARNING: possible circular locking dependency detected";
/// The two locks.
const OUTER: &str = "&iommu->device_list_lock";
const INNER: &str = "&iommu->lock";
/// The last line of any report's call trace.
const LAST: &str = "</TASK>";

/// The first line of a report about mainline's mtty.
const MTTY: &str = "UBSAN: array-index-out-of-bounds in mtty.c:";

/// Removes the known reports from the messages of a log.
pub fn remove(messages: &mut Vec<String>) {
    remove_each(messages, FIRST, is_known);
    remove_each(messages, MTTY, |_| true);
}

/// Removes the reports that begin with `begin` and are known.
fn remove_each(messages: &mut Vec<String>, begin: &str, is_known: fn(&[String]) -> bool) {
    let mut from = 0;
    while let Some(first) = position(messages, from, begin) {
        let Some(last) = position(messages, first, LAST) else {
            return;
        };
        if is_known(&messages[first..=last]) {
            messages.drain(first..=last);
            from = first;
        } else {
            from = last;
        }
    }
}

fn position(messages: &[String], from: usize, text: &str) -> Option<usize> {
    let found = messages[from..]
        .iter()
        .position(|message| message.contains(text));
    found.map(|at| from + at)
}

fn is_known(report: &[String]) -> bool {
    let after = |text: &str| {
        let at = position(report, 0, text)?;
        let line = report.get(at + 1)?;
        Some((lock(line)?, line.split_once("at: ")?.1.split('+').next()?))
    };
    let links = report.iter().filter(|line| line.starts_with("-> #"));
    let chain: Vec<_> = links.map(|line| lock(line)).collect();
    after("is trying to acquire lock:") == Some((INNER, "vfio_iommu_type1_unpin_pages"))
        && after("but task is already holding lock:") == Some((OUTER, "vfio_notify_dma_unmap"))
        && chain == [Some(OUTER), Some(INNER)]
        && report.iter().any(|line| holds_one(line))
}

/// Returns whether a line says that a thread holds one lock: 7.3 has the thread first, 7.2 the
/// number.
fn holds_one(line: &str) -> bool {
    let behind = line.strip_prefix("locks held by ");
    line.starts_with("1 lock held by ") || behind.is_some_and(|rest| rest.contains(": 1, "))
}

/// Returns the lock in a line. Locks with the same name are numbered.
fn lock(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('(')?;
    rest.split([')', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
WARNING: possible circular locking dependency detected
7.2.12-debug Tainted: G           O
------------------------------------------------------
mig-test/68 is trying to acquire lock:
ff11000109390480 (&iommu->lock#2){+.+.}-{4:4}, at: vfio_iommu_type1_unpin_pages+0x6d/0x170

but task is already holding lock:
ff11000109390520 (&iommu->device_list_lock){+.+.}-{4:4}, at: vfio_notify_dma_unmap+0x48/0x110

the existing dependency chain (in reverse order) is:

-> #1 (&iommu->device_list_lock){+.+.}-{4:4}:
       vfio_iommu_type1_register_device+0x5b/0xe0
-> #0 (&iommu->lock#2){+.+.}-{4:4}:
       vfio_iommu_type1_unpin_pages+0x6d/0x170

1 lock held by mig-test/68:
stack backtrace:
 <TASK>
 vfio_notify_dma_unmap+0xcf/0x110
 </TASK>";

    const NEW: &str = "locks held by mig-test/68: 1, last CPU#1:";

    fn left(text: &str) -> Vec<String> {
        let mut messages = text.lines().map(String::from).collect();
        remove(&mut messages);
        messages
    }

    #[test]
    fn the_known_report_goes_and_what_is_around_it_stays() {
        let newer = REPORT.replace("1 lock held by mig-test/68:", NEW);
        assert_ne!(newer, REPORT);
        let log = format!("before\n{REPORT}\nbetween\n{newer}\nBUG: after");
        assert_eq!(left(&log), ["before", "between", "BUG: after"]);
    }

    #[test]
    fn an_index_out_of_bounds_is_known_in_mainlines_mtty_alone() {
        let report = |file: &str| {
            format!(
                "UBSAN: array-index-out-of-bounds in {file}:542:20\nindex 2 is out of range\n \
                 <TASK>\n </TASK>\nBUG: after"
            )
        };
        assert_eq!(left(&report("mtty.c")), ["BUG: after"]);
        assert_eq!(left(&report("eventfd.c")).len(), 5);
    }

    #[test]
    fn a_report_that_differs_in_a_lock_stays() {
        for (part, other) in [
            (
                "(&iommu->lock#2){+.+.}-{4:4}, at",
                "(&pins->table){+.+.}-{4:4}, at",
            ),
            ("at: vfio_notify_dma_unmap", "at: mdev_sdk_unmap"),
            ("-> #0 (&iommu->lock#2)", "-> #0 (&pins->table)"),
            ("-> #0", "-> #1 (&session){+.+.}-{4:4}:\n-> #0"),
            ("1 lock held by", "2 locks held by"),
            (
                "1 lock held by mig-test/68:",
                NEW.replace(": 1,", ": 2,").as_str(),
            ),
            (
                "1 lock held by mig-test/68:",
                NEW.replace(": 1,", ": 11,").as_str(),
            ),
            ("</TASK>", "cut off"),
        ] {
            let report = REPORT.replace(part, other);
            assert_ne!(report, REPORT, "{part}");
            assert_eq!(left(&report).len(), report.lines().count(), "{other}");
        }
    }
}
