// SPDX-License-Identifier: GPL-2.0
//! What the kernel logs of the devices under test, which says more than an errno does.

use crate::kernel_log::KernelLog;
use crate::scenario::target::Target;

/// What the kernel says of every device that comes and goes.
const NOISE: &str = "iommu group";
/// Lines that are added to what shows a violation: the last ones.
const LINES: usize = 3;

/// The kernel log, of some devices alone.
pub struct DeviceLog {
    /// None if this process may not read it.
    log: Option<KernelLog>,
    names: Vec<String>,
}

impl DeviceLog {
    /// Begins with the next line.
    pub fn of<'t>(targets: impl IntoIterator<Item = &'t Target>) -> Self {
        let targets = targets.into_iter();
        let names = targets.filter_map(|target| target.path().file_name());
        DeviceLog {
            log: KernelLog::from_now().ok(),
            names: names
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
        }
    }

    /// Leaves out the lines so far.
    pub fn begin(&mut self) {
        self.lines();
    }

    /// Adds the last lines since the beginning to a text.
    pub fn with(&mut self, text: String) -> String {
        let lines = self.lines();
        let last = lines[lines.len().saturating_sub(LINES)..].iter();
        let last: String = last
            .map(|line| format!("\nthe kernel says: {line}"))
            .collect();
        text + &last
    }

    fn lines(&mut self) -> Vec<String> {
        let lines = self.log.as_mut().map(|log| log.lines_with(&self.names));
        let mut lines = lines.and_then(Result::ok).unwrap_or_default();
        lines.retain(|line| !line.contains(NOISE));
        lines
    }
}
