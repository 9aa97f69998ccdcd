// SPDX-License-Identifier: GPL-2.0
//! Finds the Debian mirror that this machine already uses, and its keyring.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::deb822::{stanzas, Stanza};
use crate::failure::unusable;

/// Releases of Debian, whose names distinguish a Debian archive from other sources.
const RELEASES: [&str; 7] = [
    "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "unstable",
];
const DEFAULT_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A mirror with the suites of Debian.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Its address, as in sources.list.
    pub uri: String,
    /// The keys that it is signed with.
    pub keyring: PathBuf,
}

impl Mirror {
    /// Returns the mirror of this machine's apt, or `override_uri`.
    pub fn find(override_uri: Option<&str>) -> Result<Self> {
        let found = match override_uri {
            Some(uri) => Some(Mirror {
                uri: uri.into(),
                keyring: DEFAULT_KEYRING.into(),
            }),
            None => read_sources(Path::new("/etc/apt")),
        };
        let Some(mirror) = found else {
            unusable!(
                "apt on this machine names no Debian mirror. Set MIG_TEST_MIRROR to the address \
                 of one, as it would stand in sources.list."
            );
        };
        if !mirror.keyring.exists() {
            unusable!(
                "the keyring {} is missing. Install the package debian-archive-keyring.",
                mirror.keyring.display()
            );
        }
        Ok(mirror)
    }

    /// Returns the line of sources.list for one suite.
    pub fn source_line(&self, suite: &str) -> String {
        format!(
            "deb [signed-by={}] {} {suite} main",
            self.keyring.display(),
            self.uri
        )
    }
}

/// Parses `sources.list` and `sources.list.d` below `etc`.
fn read_sources(etc: &Path) -> Option<Mirror> {
    let mut files = vec![etc.join("sources.list")];
    let parts = fs::read_dir(etc.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    files.extend(parts.map(|entry| entry.path()));
    files[1..].sort();
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        match path.extension()?.to_str()? {
            "list" => text.lines().find_map(one_line),
            "sources" => stanzas(&text).iter().find_map(deb822),
            _ => None,
        }
    })
}

fn is_debian(suites: &[&str], components: &[&str]) -> bool {
    components.contains(&"main")
        && suites.iter().any(|suite| {
            let release = suite.split('-').next().unwrap_or_default();
            RELEASES.contains(&release) && !suite.ends_with("-security")
        })
}

fn mirror(uri: &str, keyring: Option<&str>) -> Option<Mirror> {
    // A mirror list, a CD or a folder that only this machine has would not do for a new root.
    let usable = uri.starts_with("http://") || uri.starts_with("https://");
    let keyring = keyring
        .filter(|path| path.starts_with('/'))
        .unwrap_or(DEFAULT_KEYRING);
    usable.then(|| Mirror {
        uri: uri.trim_end_matches('/').into(),
        keyring: keyring.into(),
    })
}

/// Parses a line `deb [option=value ...] URI SUITE COMPONENT...`.
fn one_line(line: &str) -> Option<Mirror> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.starts_with([' ', '\t']).then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let keyring = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (uri, suite) = (words.first()?, words.get(1)?);
    is_debian(&[suite], &words[2..]).then(|| mirror(uri, keyring))?
}

/// Returns the mirror of a stanza, if it is one of Debian.
fn deb822(stanza: &Stanza) -> Option<Mirror> {
    let list = |name| {
        stanza
            .get(name)
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    let enabled = !matches!(stanza.get("Enabled"), Some("no" | "false"));
    (enabled && list("Types").contains(&"deb") && is_debian(&list("Suites"), &list("Components")))
        .then(|| mirror(list("URIs").first()?, stanza.get("Signed-By")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Option<String> {
        one_line(text).map(|mirror| mirror.uri)
    }

    #[test]
    fn a_line_of_a_debian_release_names_the_mirror() {
        assert_eq!(
            one("deb http://m.example/debian/ trixie main").unwrap(),
            "http://m.example/debian"
        );
        let signed =
            one_line("deb [arch=amd64 signed-by=/k.gpg] https://m/d bookworm main contrib");
        assert_eq!(signed.unwrap().keyring, Path::new("/k.gpg"));
    }

    #[test]
    fn other_lines_name_none() {
        for line in [
            "# deb http://m/debian trixie main",
            "deb-src http://m/debian trixie main",
            "deb http://m/security trixie-security main",
            "deb http://m/node nodistro main",
            "deb http://m/pg bookworm-pgdg non-main",
            "deb cdrom:[disc]/ trixie main",
            "deb http://m/debian",
            "",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
    }

    #[test]
    fn a_deb822_stanza_with_comments_and_several_suites_names_the_mirror() {
        let text =
            "Types: deb\n# why\nURIs: http://m/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://other\n";
        let found: Vec<_> = stanzas(text).iter().filter_map(deb822).collect();
        assert_eq!(
            found,
            [Mirror {
                uri: "http://m/debian".into(),
                keyring: "/k.gpg".into()
            }]
        );
    }

    #[test]
    fn disabled_security_and_foreign_stanzas_name_none() {
        for text in [
            "Types: deb\nURIs: http://m/debian\nSuites: trixie\nComponents: main\nEnabled: no",
            "Types: deb\nURIs: http://m/sec\nSuites: trixie-security\nComponents: main",
            "Types: deb-src\nURIs: http://m/debian\nSuites: trixie\nComponents: main",
            "Types: deb\nURIs: http://m/node\nSuites: nodistro\nComponents: main",
        ] {
            assert_eq!(stanzas(text).iter().find_map(deb822), None, "{text}");
        }
    }

    #[test]
    fn files_of_both_formats_are_read_and_others_are_not() {
        let etc = tempfile::tempdir().unwrap();
        let parts = etc.path().join("sources.list.d");
        fs::create_dir(&parts).unwrap();
        fs::write(
            parts.join("a.list.disabled"),
            "deb http://no/debian trixie main",
        )
        .unwrap();
        assert_eq!(read_sources(etc.path()), None);
        fs::write(parts.join("z.list"), "deb http://late/debian trixie main").unwrap();
        fs::write(
            parts.join("b.sources"),
            "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main",
        )
        .unwrap();
        assert_eq!(read_sources(etc.path()).unwrap().uri, "http://m/debian");
        fs::write(
            etc.path().join("sources.list"),
            "deb http://first/debian trixie main",
        )
        .unwrap();
        assert_eq!(read_sources(etc.path()).unwrap().uri, "http://first/debian");
    }
}
