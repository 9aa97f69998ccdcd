// SPDX-License-Identifier: GPL-2.0
//! Checks the lab's requirements of the machine before anything is changed.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use rustix::fs::statvfs;
use rustix::process::geteuid;

use crate::failure::{unusable, Unusable};

/// Checks for root, and for the programs that the lab runs on the host.
pub fn privileges() -> Result<()> {
    if !geteuid().is_root() {
        unusable!(
            "the lab mounts and changes root, so it needs root. Run this as root, or by sudo."
        );
    }
    if env::consts::ARCH != "x86_64" {
        unusable!(
            "the lab runs on x86-64 only. This machine is {}.",
            env::consts::ARCH
        );
    }
    programs(&["setpriv", "unshare", "mount", "chroot", "rm"])?;
    let unshare = Command::new("unshare")
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "mount",
            "-t",
            "tmpfs",
            "none",
            "/mnt",
        ])
        .stderr(Stdio::null())
        .status();
    if !unshare.is_ok_and(|status| status.success()) {
        unusable!(
            "this machine does not allow root to make mount namespaces, as in a container without \
             privileges. Start the container with --privileged, or use a virtual machine."
        );
    }
    Ok(())
}

/// Checks that each program is on the path.
pub fn programs(names: &[&str]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let missing = |name: &&&str| !folders.iter().any(|folder| folder.join(name).is_file());
    let missing: Vec<&str> = names.iter().filter(missing).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    unusable!(
        "not found: {}. Install the packages with tools/setup.sh, or by hand: apt-get install \
         mmdebstrap util-linux coreutils mount.",
        missing.join(", ")
    );
}

/// Checks for `needed` free bytes in `folder`, or in the nearest folder above it that exists.
pub fn space(folder: &Path, needed: u64) -> Result<()> {
    let existing = folder
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let stat = statvfs(existing)?;
    enough(folder, stat.f_bavail * stat.f_frsize, needed)
}

fn enough(folder: &Path, free: u64, needed: u64) -> Result<()> {
    if free < needed {
        unusable!(
            "{} has {} of free space, the lab needs {}. Make room there, or name another folder \
             with MIG_TEST_CACHE.",
            folder.display(),
            size(free),
            size(needed)
        );
    }
    Ok(())
}

/// Formats a size.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1024)),
        0x10_0000..=0x3fff_ffff => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// Returns the likely cause of a failed bootstrap.
pub fn explain(error: anyhow::Error, path: &Path, mirror: &str) -> anyhow::Error {
    let text = format!("{error:#}");
    let full = statvfs(path).is_ok_and(|stat| stat.f_bavail * stat.f_frsize < 64 << 20);
    let sentence = if full || text.contains("No space left") {
        "the disk is full. Make room, or name another folder with MIG_TEST_CACHE.".to_string()
    } else if [
        "Unable to locate package",
        "was not found",
        "has no installation candidate",
    ]
    .iter()
    .any(|known| text.contains(known))
    {
        format!("{mirror} lacks a package. Name another mirror with MIG_TEST_MIRROR.")
    } else {
        format!(
            "the packages of {mirror} could not be had or unpacked. Check the network and try again."
        )
    };
    Unusable(format!("{sentence}\n{text}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_too_full_is_refused_with_both_figures() {
        let error = enough(Path::new("/cache"), 5 << 30, 6 << 30).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/cache has 5.0 GiB of free space, the lab needs 6.0 GiB. Make room there, or name \
             another folder with MIG_TEST_CACHE."
        );
        assert!(enough(Path::new("/cache"), 6 << 30, 6 << 30).is_ok());
    }

    #[test]
    fn a_missing_program_is_named_with_the_way_to_get_it() {
        let error = programs(&["sh", "no-such-program"])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("not found: no-such-program. Install"),
            "{error}"
        );
    }

    #[test]
    fn a_mirror_without_a_package_is_told_from_a_broken_network() {
        let explain = |text: &str| {
            let error = explain(anyhow::anyhow!("{text}"), Path::new("/"), "http://m");
            error.to_string().lines().next().unwrap().to_string()
        };
        let lacks = "http://m lacks a package. Name another mirror with MIG_TEST_MIRROR.";
        assert_eq!(explain("E: Unable to locate package bindgen"), lacks);
        let broken =
            "the packages of http://m could not be had or unpacked. Check the network and \
                      try again.";
        assert_eq!(explain("Could not connect"), broken);
        let full = "the disk is full. Make room, or name another folder with MIG_TEST_CACHE.";
        assert_eq!(explain("tar: No space left on device"), full);
    }

    #[test]
    fn sizes_are_for_people() {
        let sizes = [0, 1, 1 << 20, 3 << 29].map(size);
        assert_eq!(sizes, ["0 KiB", "1 KiB", "1 MiB", "1.5 GiB"]);
    }
}
