// SPDX-License-Identifier: GPL-2.0
//! Chooses the kernel: the newest of the supported series of which the mirror has everything.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::apt::Mirror;
use super::packages::{field, Packages};
use crate::failure::unusable;

/// The supported series of Linux.
pub const SERIES: &str = "7.2";
/// The packages of a kernel besides its source.
const PARTS: [&str; 3] = ["linux-headers", "linux-binary", "linux-modules"];

/// A kernel of the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaged {
    /// Its release, as `uname -r` prints it.
    pub abi: String,
    /// The version of its packages, the same for all of them.
    pub version: String,
}

impl Packaged {
    /// The packages to install, each pinned to one version.
    pub fn packages(&self) -> Vec<String> {
        let parts = PARTS
            .iter()
            .map(|part| format!("{part}-{}={}", self.abi, self.version));
        let source = format!("linux-source-{SERIES}={}", self.version);
        parts.chain([source]).collect()
    }

    /// Asks a mirror's lists.
    pub fn resolve(mirror: &Mirror, packages: &Packages) -> Result<Self> {
        let names = packages.names("linux-")?;
        let parts = names.iter().map(String::as_str);
        let parts: Vec<&str> = parts.filter(|name| is_part(name)).collect();
        match newest(&packages.show(&parts)?) {
            Some(kernel) => Ok(kernel),
            None => unusable!(
                "{} has no kernel {SERIES}.* with headers, source and modules of one version. Name \
                 another mirror with MIG_TEST_MIRROR, or wait until this one is up to date.",
                mirror.uri
            ),
        }
    }
}

/// The release that a package belongs to: the plain amd64 flavour of the series.
fn abi_of<'a>(package: &'a str, part: &str) -> Option<&'a str> {
    let abi = package.strip_prefix(part)?.strip_prefix('-')?;
    let (release, flavour) = abi.split_once('-')?;
    let point = release.strip_prefix(SERIES)?;
    (flavour == "amd64" && point.starts_with('.')).then_some(abi)
}

fn is_part(package: &str) -> bool {
    package == format!("linux-source-{SERIES}")
        || PARTS.iter().any(|part| abi_of(package, part).is_some())
}

/// The newest kernel that is complete in the stanzas that `apt-cache show` prints.
fn newest(shown: &str) -> Option<Packaged> {
    let mut source = BTreeSet::new();
    let mut kernels: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for stanza in shown.split("\n\n") {
        let (Some(package), Some(version)) = (field(stanza, "Package"), field(stanza, "Version"))
        else {
            continue;
        };
        if package == format!("linux-source-{SERIES}") {
            source.insert(version);
        } else if let Some(abi) = PARTS.iter().find_map(|part| abi_of(package, part)) {
            *kernels.entry((abi, version)).or_default() += 1;
        }
    }
    let complete = kernels
        .iter()
        .filter(|((_, version), &parts)| parts == PARTS.len() && source.contains(version));
    let (&(abi, version), _) = complete.max_by_key(|((_, version), _)| numbers(version))?;
    Some(Packaged {
        abi: abi.into(),
        version: version.into(),
    })
}

/// The numbers in a version, in order: enough to compare versions of one package and series.
pub fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(abi: &str, version: &str) -> String {
        let stanza = |name: String| format!("Package: {name}\nVersion: {version}\nSize: 1\n\n");
        PARTS
            .iter()
            .map(|part| stanza(format!("{part}-{abi}")))
            .collect::<String>()
            + &stanza(format!("linux-source-{SERIES}"))
    }

    #[test]
    fn the_newest_complete_kernel_is_chosen_by_number_not_by_letter() {
        let shown = packages("7.2.9+deb13-amd64", "7.2.9-1~bpo13+1")
            + &packages("7.2.12+deb13-amd64", "7.2.12-1~bpo13+1");
        let kernel = newest(&shown).unwrap();
        assert_eq!(kernel.abi, "7.2.12+deb13-amd64");
        assert_eq!(kernel.packages()[3], "linux-source-7.2=7.2.12-1~bpo13+1");
    }

    #[test]
    fn a_kernel_with_a_part_missing_is_passed_over() {
        let torn =
            packages("7.2.13+deb13-amd64", "7.2.13-1").replace("linux-binary", "linux-other");
        let shown = torn + &packages("7.2.12+deb13-amd64", "7.2.12-1");
        assert_eq!(newest(&shown).unwrap().version, "7.2.12-1");
    }

    #[test]
    fn a_kernel_whose_source_is_of_another_version_is_passed_over() {
        let shown = packages("7.2.12+deb13-amd64", "7.2.12-1").replace(
            "linux-source-7.2\nVersion: 7.2.12-1",
            "linux-source-7.2\nVersion: 7.2.12-2",
        );
        assert_eq!(newest(&shown), None);
    }

    #[test]
    fn other_series_flavours_and_architectures_are_not_taken() {
        for abi in [
            "7.3.4+deb13-amd64",
            "7.20.1+deb13-amd64",
            "7.2.12+deb13-cloud-amd64",
            "7.2.12+deb13-arm64",
        ] {
            assert_eq!(newest(&packages(abi, "7.2.12-1")), None, "{abi}");
        }
    }

    #[test]
    fn nothing_shown_means_no_kernel() {
        assert_eq!(newest(""), None);
    }
}
