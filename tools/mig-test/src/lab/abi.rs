// SPDX-License-Identifier: GPL-2.0
//! Chooses a kernel of the distribution: the newest of a series that is complete on the mirror.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use deb_version::compare_versions;

use super::apt::Mirror;
use super::component::Unavailable;
use super::deb822::stanzas;
use super::packages::Packages;
use super::Kernel;

/// The suite of the kernels: Debian 13's backports.
pub const SUITES: [&str; 1] = ["trixie-backports"];
/// The packages of a kernel besides its source.
pub const PARTS: [&str; 4] = [
    "linux-headers",
    "linux-base",
    "linux-binary",
    "linux-modules",
];

/// A kernel of the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaged {
    /// Its series.
    pub series: Kernel,
    /// Its release, as `uname -r` prints it.
    pub abi: String,
    /// The version of its packages, the same for all of them.
    pub version: String,
}

impl Packaged {
    /// Its packages, each pinned to one version.
    pub fn packages(&self) -> Vec<String> {
        let parts = PARTS
            .iter()
            .map(|part| format!("{part}-{}={}", self.abi, self.version));
        parts.chain([self.source()]).collect()
    }

    /// Returns the package with its source, pinned to its version.
    pub fn source(&self) -> String {
        format!("{}={}", source(self.series), self.version)
    }

    /// Returns the newest complete kernel of the first of `series` that has one in a mirror's
    /// lists.
    pub fn resolve(mirror: &Mirror, packages: &Packages, series: &[Kernel]) -> Result<Self> {
        let names = packages.names("linux-")?;
        let of_any = |name: &&str| series.iter().any(|series| is_part(name, *series));
        let parts: Vec<&str> = names.iter().map(String::as_str).filter(of_any).collect();
        let shown = packages.show(&parts)?;
        Ok(choose(&mirror.uri, &names, &shown, series)?)
    }
}

/// Chooses among the packages `names`, for which `apt-cache show` prints `shown`.
fn choose(
    mirror: &str,
    names: &[String],
    shown: &str,
    series: &[Kernel],
) -> Result<Packaged, Unavailable> {
    let found = series.iter().find_map(|series| newest(shown, *series));
    found.ok_or_else(|| Unavailable(lacks(mirror, names, series)))
}

/// Returns the package with the source of a series.
fn source(series: Kernel) -> String {
    format!("linux-source-{}", series.name())
}

/// Returns the release of a package, if it has the plain amd64 flavour of a series.
fn abi_of<'a>(package: &'a str, part: &str, series: Kernel) -> Option<&'a str> {
    let abi = plain(package, part)?;
    let point = abi.strip_prefix(series.name())?;
    point.starts_with('.').then_some(abi)
}

/// Returns the same for any series.
fn plain<'a>(package: &'a str, part: &str) -> Option<&'a str> {
    let abi = package.strip_prefix(part)?.strip_prefix('-')?;
    let (_, flavour) = abi.split_once('-')?;
    (flavour == "amd64").then_some(abi)
}

fn is_part(package: &str, series: Kernel) -> bool {
    let is = |part: &&str| abi_of(package, part, series).is_some();
    package == source(series) || PARTS.iter().any(is)
}

/// Returns the newest kernel that is complete in the stanzas that `apt-cache show` prints.
fn newest(shown: &str, series: Kernel) -> Option<Packaged> {
    let stanzas = stanzas(shown);
    let mut sources = BTreeSet::new();
    let mut kernels: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for stanza in &stanzas {
        let (Some(package), Some(version)) = (stanza.get("Package"), stanza.get("Version")) else {
            continue;
        };
        if package == source(series) {
            sources.insert(version);
        } else if let Some(abi) = PARTS.iter().find_map(|part| abi_of(package, part, series)) {
            *kernels.entry((abi, version)).or_default() += 1;
        }
    }
    let complete = kernels
        .iter()
        .filter(|((_, version), &parts)| parts == PARTS.len() && sources.contains(version));
    let (&(abi, version), _) =
        complete.max_by(|((_, one), _), ((_, other), _)| compare_versions(one, other))?;
    Some(Packaged {
        series,
        abi: abi.into(),
        version: version.into(),
    })
}

/// Returns the message about the series that a mirror has instead of the supported ones.
fn lacks(mirror: &str, names: &[String], series: &[Kernel]) -> String {
    let wanted: Vec<String> = series
        .iter()
        .map(|one| format!("{}.*", one.name()))
        .collect();
    let of = |name: &String| {
        let parts = PARTS.iter().chain(&["linux-image"]);
        major_minor(parts.filter_map(|part| plain(name, part)).next()?)
    };
    let found: BTreeSet<(u64, u64)> = names.iter().filter_map(of).collect();
    let found: Vec<String> = found
        .iter()
        .rev()
        .map(|(major, minor)| format!("{major}.{minor}"))
        .collect();
    let found = match found.as_slice() {
        [] => "none at all".into(),
        found => format!("packages of {}", found.join(", ")),
    };
    format!(
        "{mirror} has no kernel {} with headers, source and modules of one version, but {found}. \
         Name another mirror with MIG_TEST_MIRROR, or wait until this one is up to date.",
        wanted.join(" or ")
    )
}

/// Returns the first two numbers in an upstream version.
pub fn major_minor(version: &str) -> Option<(u64, u64)> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    let mut numbers = parts.filter_map(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kernel::{V7_2, V7_3};

    fn packages(abi: &str, version: &str) -> String {
        let stanza = |name: String| format!("Package: {name}\nVersion: {version}\nSize: 1\n\n");
        let parts = PARTS.iter().map(|part| stanza(format!("{part}-{abi}")));
        parts.collect::<String>() + &stanza(format!("linux-source-{}", &abi[..3]))
    }

    #[test]
    fn the_newest_complete_kernel_of_each_series_is_chosen_by_number_not_by_letter() {
        let shown = packages("7.2.9+deb13-amd64", "7.2.9-1~bpo13+1")
            + &packages("7.3.4+deb13-amd64", "7.3.4-1~bpo13+1")
            + &packages("7.2.12+deb13-amd64", "7.2.12-1~bpo13+1")
            + &packages("7.3.10+deb13-amd64", "7.3.10-1~bpo13+1");
        let found = |series| newest(&shown, series).unwrap().abi;
        assert_eq!(found(V7_2), "7.2.12+deb13-amd64");
        assert_eq!(found(V7_3), "7.3.10+deb13-amd64");
    }

    #[test]
    fn a_backport_is_older_than_what_it_is_a_backport_of() {
        let abi = "7.2.12+deb13-amd64";
        let [original, backport] = ["7.2.12-1", "7.2.12-1~bpo13+1"];
        for versions in [[original, backport], [backport, original]] {
            let shown = versions.map(|version| packages(abi, version)).concat();
            assert_eq!(newest(&shown, V7_2).unwrap().version, original);
        }
    }

    #[test]
    fn a_kernel_with_a_part_missing_is_passed_over() {
        let torn =
            packages("7.2.13+deb13-amd64", "7.2.13-1").replace("linux-binary", "linux-other");
        let shown = torn + &packages("7.2.12+deb13-amd64", "7.2.12-1");
        assert_eq!(newest(&shown, V7_2).unwrap().version, "7.2.12-1");
    }

    #[test]
    fn a_kernel_whose_source_is_of_another_version_is_passed_over() {
        let shown = packages("7.2.12+deb13-amd64", "7.2.12-1").replace(
            "linux-source-7.2\nVersion: 7.2.12-1",
            "linux-source-7.2\nVersion: 7.2.12-2",
        );
        assert_eq!(newest(&shown, V7_2), None);
    }

    #[test]
    fn other_series_flavours_and_architectures_are_not_taken() {
        for abi in [
            "7.3.4+deb13-amd64",
            "7.20.1+deb13-amd64",
            "7.2.12+deb13-cloud-amd64",
            "7.2.12+deb13-arm64",
        ] {
            assert_eq!(newest(&packages(abi, "7.2.12-1"), V7_2), None, "{abi}");
        }
    }

    #[test]
    fn the_newer_series_is_the_default_and_either_alone_suffices() {
        let old = packages("7.2.12+deb13-amd64", "7.2.12-1");
        let new = packages("7.3.4+deb13-amd64", "7.3.4-1");
        let chosen = |shown: &str| {
            let kernel = choose("http://m", &[], shown, &Kernel::STOCK).unwrap();
            (kernel.series, kernel.source())
        };
        let newer = (V7_3, "linux-source-7.3=7.3.4-1".to_string());
        let older = (V7_2, "linux-source-7.2=7.2.12-1".to_string());
        assert_eq!(chosen(&(old.clone() + &new)), newer);
        assert_eq!(chosen(&new), newer);
        assert_eq!(chosen(&old), older);
        let torn = new.replace("linux-modules", "linux-other");
        assert_eq!(chosen(&(torn + &old)), older);
    }

    #[test]
    fn a_mirror_without_any_supported_series_is_refused_with_those_it_has() {
        let names = [
            "linux-image-7.1.13+deb13-amd64",
            "linux-headers-7.10.1+deb13-amd64",
            "linux-image-6.16.3+deb13-rt-amd64",
            "linux-source-6.12",
        ];
        let message = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let refused = choose("http://m", &names, "", &Kernel::STOCK).unwrap_err();
            refused.to_string()
        };
        let begin =
            "http://m has no kernel 7.3.* or 7.2.* with headers, source and modules of one \
                     version, but ";
        let said = message(&names);
        assert!(
            said.starts_with(&format!("{begin}packages of 7.10, 7.1. ")),
            "{said}"
        );
        assert!(message(&[]).starts_with(&format!("{begin}none at all. ")));
    }
}
