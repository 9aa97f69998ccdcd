// SPDX-License-Identifier: GPL-2.0
//! Roots of QEMUs: of the one that runs the lab VM, and of those that run guests, except the root's
//! own. Each has only what its QEMU needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use deb_version::compare_versions;

use super::abi::major_minor;
use super::apt::Mirror;
use super::bootstrap::{lean, Root};
use super::component::{Build, Component, Unavailable};
use super::deb822::stanzas;
use super::packages::Packages;
use super::root::qemu_version;
use crate::qemu::version::Qemu;

/// The QEMU that runs the lab VM: 11.1, or Debian 13's if the mirror has no 11.1.
pub const LAB: Component = Component {
    name: "lab-qemu",
    about: "the QEMU that runs the lab VM",
    only_for: None,
    space: 700,
    needs: &[],
    recipe: || LAB_CHOICE.map(recipe).join("\n"),
    build: |build, path| {
        let [first, second] = LAB_CHOICE;
        match make(first, build, path) {
            Err(error) if error.is::<Unavailable>() => make(second, build, path),
            made => made,
        }
    },
};

/// The QEMUs that can run the lab VM, the better one first: see [`loses_wakeups`].
const LAB_CHOICE: [Qemu; 2] = [Qemu::V11_1, Qemu::V10_0];

/// Returns whether a QEMU of this version, with TCG, can lose an interrupt of a processor that runs
/// guests. Before 10.2 two threads change the bits of pending interrupts without atomic operations
/// (Documentation/lab.md).
pub fn loses_wakeups(version: &str) -> bool {
    major_minor(version).is_none_or(|version| version < (10, 2))
}

/// QEMU 7.2, of Debian 12.
pub const V7_2: Component = Component {
    name: "qemu-7.2",
    about: "QEMU 7.2 (of Debian 12)",
    only_for: Some("--qemu 7.2"),
    space: 700,
    needs: &[],
    recipe: || recipe(Qemu::V7_2),
    build: |build, path| make(Qemu::V7_2, build, path),
};

/// QEMU 11.1, of Debian 13's backports.
pub const V11_1: Component = Component {
    name: "qemu-11.1",
    about: "QEMU 11.1 (of Debian 13's backports)",
    only_for: Some("--qemu 11.1"),
    space: 700,
    needs: &[],
    recipe: || recipe(Qemu::V11_1),
    build: |build, path| make(Qemu::V11_1, build, path),
};

/// Returns the component with a QEMU.
pub fn component(qemu: Qemu) -> &'static str {
    match qemu {
        Qemu::V7_2 => V7_2.name,
        Qemu::V10_0 => super::root::TRIXIE.name,
        Qemu::V11_1 => V11_1.name,
    }
}

const PACKAGE: &str = "qemu-system-x86";
/// `base-files` has the links `/lib` and `/lib64`; a migration to `exec:` starts the others.
const BESIDE: &str = "base-files coreutils dash";

/// Packages are unpacked only, because nothing that their scripts set up is used here.
const VARIANT: &str = "extract";

fn suites(qemu: Qemu) -> &'static [&'static str] {
    match qemu {
        Qemu::V7_2 => &["bookworm"],
        Qemu::V10_0 => &["trixie"],
        Qemu::V11_1 => &["trixie", "trixie-backports"],
    }
}

/// Pins all packages to the last suite if it has them, because QEMU's parts must have one version.
fn options(qemu: Qemu) -> Vec<String> {
    let last = suites(qemu).last().expect("a root has a suite");
    let prefer = format!("--aptopt=APT::Default-Release \"{last}\"");
    [lean(VARIANT), vec![prefer]].concat()
}

fn recipe(qemu: Qemu) -> String {
    let suites = suites(qemu).join(" ");
    let packages = [BESIDE, PACKAGE].join(" ");
    let options = options(qemu).join(" ");
    [suites, packages, qemu.series().into(), options].join("\n")
}

fn make(qemu: Qemu, build: &Build, path: &Path) -> Result<BTreeMap<String, String>> {
    let mirror = Mirror::find(build.mirror)?;
    let lacks = || Unavailable(format!("{} has no QEMU {}", mirror.uri, qemu.series()));
    let lists =
        Packages::fetch(build, &mirror, suites(qemu), path).map_err(|error| {
            match format!("{error:#}").contains("does not have a Release file") {
                true => lacks().into(),
                false => error,
            }
        })?;
    let version = newest(&lists.show(&[PACKAGE])?, qemu).ok_or_else(lacks)?;
    drop(lists);
    Root {
        suites: suites(qemu),
        packages: format!("{BESIDE} {PACKAGE}={version}"),
        options: options(qemu),
    }
    .make(build, &mirror, path)?;
    // What it sees of the lab VM's root; see scripts/init.sh.
    for folder in ["job", "usr/lib/modules"] {
        fs::create_dir_all(path.join(folder))?;
    }
    let version = qemu_version(build, path)?;
    Ok([("qemu".to_string(), version)].into())
}

/// Returns the newest version of a series in the stanzas that `apt-cache show` prints.
fn newest(shown: &str, qemu: Qemu) -> Option<String> {
    let of_series = |version: &&str| {
        let upstream = version.split_once(':').map_or(*version, |(_, rest)| rest);
        upstream
            .strip_prefix(qemu.series())
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let stanzas = stanzas(shown);
    let versions = stanzas.iter().filter_map(|stanza| stanza.get("Version"));
    let newest = versions
        .filter(of_series)
        .max_by(|one, other| compare_versions(one, other));
    newest.map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_10_2_lose_wakeups() {
        for version in ["10.0.13", "10.1.0", "9.2.4", "unknown"] {
            assert!(loses_wakeups(version), "{version}");
        }
        for version in ["10.2.0", "11.1.3", "12.0"] {
            assert!(!loses_wakeups(version), "{version}");
        }
    }

    #[test]
    fn the_newest_version_of_the_series_is_chosen_and_no_other_series() {
        let versions = [
            "1:11.1.3+ds-1",
            "1:11.1.10+ds-1",
            "1:11.10.0+ds-1",
            "1:10.0.13+ds-0",
            "1:7.2+dfsg-7+deb12u18",
        ];
        let stanza = |version| format!("Package: {PACKAGE}\nVersion: {version}\n\n");
        let shown: String = versions.map(stanza).concat();
        let found = |qemu| newest(&shown, qemu);
        assert_eq!(found(Qemu::V11_1).unwrap(), "1:11.1.10+ds-1");
        assert_eq!(found(Qemu::V7_2).unwrap(), "1:7.2+dfsg-7+deb12u18");
        assert_eq!(newest(&stanza("1:11.10.0"), Qemu::V11_1), None);
    }

    #[test]
    fn a_release_is_newer_than_its_candidates() {
        let shown = ["1:11.1.0~rc3+ds-1", "1:11.1.0+ds-1", "1:11.1.0~rc4+ds-2"]
            .map(|version| format!("Package: {PACKAGE}\nVersion: {version}\n\n"))
            .concat();
        assert_eq!(newest(&shown, Qemu::V11_1).unwrap(), "1:11.1.0+ds-1");
    }
}
