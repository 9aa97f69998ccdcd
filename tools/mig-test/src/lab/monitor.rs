// SPDX-License-Identifier: GPL-2.0
//! Watches QEMU's monitor for a stop of the lab VM, which the VM itself could not report: without
//! this it would be silent until a deadline.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// Speaks QMP until QEMU reports that the VM is stopped, or ends. Returns QMP's name of the state
/// of the VM: `internal-error` if KVM cannot continue.
pub fn await_stop(stream: UnixStream) -> Option<String> {
    let mut commands = stream.try_clone().ok()?;
    let mut say = |command: &str| {
        let line = format!("{{\"execute\": \"{command}\"}}\n");
        commands.write_all(line.as_bytes()).ok()
    };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if message.get("QMP").is_some() {
            say("qmp_capabilities")?;
            // It may have stopped before anybody was there to be told.
            say("query-status")?;
        }
        if message["event"] == "STOP" {
            say("query-status")?;
        }
        let status = message["return"]["status"].as_str();
        if let Some(status) = status.filter(|status| stands_still(status)) {
            return Some(status.into());
        }
    }
    None
}

/// Returns whether the VM is stopped for good. A VM that has not begun, or powers off, is not.
fn stands_still(status: &str) -> bool {
    !matches!(status, "running" | "prelaunch" | "shutdown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Returns the result for a QEMU that sends the lines of `script`. A line that begins with ">"
    /// is one that it must receive first.
    fn heard(script: &[&str]) -> Option<String> {
        let (ours, mut qemu) = UnixStream::pair().unwrap();
        let listener = thread::spawn(move || await_stop(ours));
        let mut told = BufReader::new(qemu.try_clone().unwrap()).lines();
        for line in script {
            match line.strip_prefix('>') {
                Some(command) => assert!(told.next().unwrap().unwrap().contains(command)),
                None => qemu.write_all(format!("{line}\n").as_bytes()).unwrap(),
            }
        }
        drop((told, qemu));
        listener.join().unwrap()
    }

    const GREETING: [&str; 3] = [r#"{"QMP": {}}"#, ">qmp_capabilities", ">query-status"];
    const STOP: [&str; 2] = [r#"{"event": "STOP", "timestamp": {}}"#, ">query-status"];
    const RUNNING: &str = r#"{"return": {"running": true, "status": "running"}}"#;
    const BROKEN: &str = r#"{"return": {"running": false, "status": "internal-error"}}"#;

    #[test]
    fn a_vm_that_cannot_go_on_is_heard_of() {
        let begin = [&GREETING[..], &[r#"{"return": {}}"#, RUNNING]].concat();
        let stopped = [&begin[..], &STOP, &[BROKEN]].concat();
        assert_eq!(heard(&stopped).as_deref(), Some("internal-error"));
    }

    #[test]
    fn so_is_one_that_stopped_before_anybody_listened() {
        let stopped = [&GREETING[..], &[BROKEN]].concat();
        assert_eq!(heard(&stopped).as_deref(), Some("internal-error"));
    }

    #[test]
    fn a_vm_that_powers_off_has_not_failed() {
        let powered_off = r#"{"return": {"running": false, "status": "shutdown"}}"#;
        let ended = [&GREETING[..], &[RUNNING], &STOP, &[powered_off]].concat();
        assert_eq!(heard(&ended), None);
        assert_eq!(heard(&[]), None);
    }
}
